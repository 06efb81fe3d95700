//! Whether a stream is SMTP.

use memchr::memchr;

use crate::flow::Direction;
use crate::protocol::Probe;
use crate::protocol::smtp::dialogue::Command;
use crate::protocol::smtp::line::MAX_LINE;

/// Looks at the first bytes of a direction.
pub(super) fn probe(direction: Direction, bytes: &[u8]) -> Probe {
    match direction {
        Direction::ToServer => probe_client(bytes),
        Direction::ToClient => probe_server(bytes),
    }
}

/// How commands begin that no other protocol has.
const OWN: [&[u8]; 7] = [
    b"EHLO ",
    b"HELO ",
    b"LHLO ",
    b"MAIL FROM:",
    b"RCPT TO:",
    b"MAIL FROM ",
    b"RCPT TO ",
];

/// The verbs that [`Command::read`] knows.
const VERBS: [&[u8]; 13] = [
    b"EHLO", b"HELO", b"LHLO", b"MAIL", b"SEND", b"SOML", b"SAML", b"RCPT", b"DATA", b"BDAT",
    b"RSET", b"NOOP", b"QUIT",
];

const STARTTLS: &[u8] = b"STARTTLS";

fn probe_client(mut bytes: &[u8]) -> Probe {
    while let Some(end) = memchr(b'\n', bytes) {
        let (line, rest) = bytes.split_at(end);
        match probe_part(line) {
            Probe::Unsure => {}
            told => return told,
        }
        match Command::read(line) {
            // other protocols have these commands as well: what follows tells
            Some(Command::Reset | Command::StartTls | Command::Other) => {}
            Some(_) => return Probe::Certain,
            None => return Probe::NotForUs,
        }
        bytes = rest.get(1..).unwrap_or_default();
    }
    probe_part(bytes)
}

/// What can be told of a line of which there is no more yet. What is told must hold for the whole
/// line, for the rest may come in another segment.
fn probe_part(line: &[u8]) -> Probe {
    if OWN.iter().any(|own| starts_with(line, own)) {
        return Probe::Certain;
    }
    let text = line.trim_ascii_start();
    let end = text.iter().position(|c| !c.is_ascii_alphanumeric());
    let verb = text.get(..end.unwrap_or(text.len())).unwrap_or_default();
    let known = VERBS.iter().chain([&STARTTLS]).any(|known| match end {
        Some(_) => verb.eq_ignore_ascii_case(known),
        None => starts_with(known, verb),
    });
    match known && line.len() < MAX_LINE {
        true => Probe::Unsure,
        false => Probe::NotForUs,
    }
}

/// A greeting opens FTP too: it is SMTP if it says so, or if the next answer is one that only
/// SMTP gives there; otherwise the client's command decides.
fn probe_server(bytes: &[u8]) -> Probe {
    let greetings: [&[u8]; 2] = [b"220 ", b"220-"];
    if !greetings
        .iter()
        .any(|g| g.starts_with(bytes) || bytes.starts_with(g))
    {
        return Probe::NotForUs;
    }
    let mut lines = bytes.split(|c| *c == b'\n').peekable();
    while let Some(line) = lines.next() {
        let whole = lines.peek().is_some();
        match line.get(..3) {
            Some(b"220") if whole && says_smtp(line) => return Probe::Certain,
            Some(b"220") => {}
            Some(b"250") if whole => return Probe::Certain,
            // continued lines may lack the code
            Some(code) if code.iter().all(u8::is_ascii_digit) && whole => return Probe::NotForUs,
            _ => {}
        }
    }
    Probe::Unsure
}

fn says_smtp(line: &[u8]) -> bool {
    let has = |word: &[u8]| {
        line.windows(word.len())
            .any(|w| w.eq_ignore_ascii_case(word))
    };
    (has(b"SMTP") || has(b"LMTP")) && !has(b"FTP ")
}

fn starts_with(bytes: &[u8], with: &[u8]) -> bool {
    bytes
        .get(..with.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(with))
}

#[cfg(test)]
mod tests {
    use crate::flow::Direction::ToClient;
    use crate::flow::Direction::ToServer;
    use crate::protocol::Probe::Certain;
    use crate::protocol::Probe::NotForUs;
    use crate::protocol::Probe::Unsure;

    #[test]
    fn first_bytes_are_told_apart() {
        for (direction, bytes, probe) in [
            (ToServer, "EHLO client.example\r\n", Certain),
            (ToServer, "helo x\r\n", Certain),
            (ToServer, "LHLO x\r\n", Certain),
            (ToServer, "EHLO\r\n", Certain),
            (ToServer, "EH", Unsure),
            (ToServer, "", Unsure),
            (ToServer, "EHLO\0", Unsure),
            (ToServer, "EHLO\0\n", Certain),
            (ToServer, " mail", Unsure),
            (ToServer, "RCPT TO:\n", Certain),
            (ToServer, "MAILER x", NotForUs),
            (ToServer, "MAIL FROM:<a@x.example>\r\n", Certain),
            (ToServer, "rcpt to: <a@x.example>\r\n", Certain),
            (ToServer, "DATA\r\nSubject: x\r\n", Certain),
            (ToServer, "DATA", Unsure),
            (ToServer, "BDAT 100 LAST\r\n", Certain),
            (ToServer, "STARTTLS\r\n", Unsure),
            (ToServer, "NOOP\r\nMAIL FROM:<a@x.example>\r\n", Certain),
            (ToServer, "RSET\r\nSTAT\r\n", NotForUs),
            (ToServer, "USER anonymous\r\n", NotForUs),
            (ToServer, "AUTH TLS\r\n", NotForUs),
            (ToServer, "GET / HTTP/1.1\r\n", NotForUs),
            (ToServer, "220 x ESMTP\r\n", NotForUs),
            (ToClient, "220 mail.example ESMTP Postfix\r\n", Certain),
            (ToClient, "220-mail.example SMTP\r\n220 more\r\n", Certain),
            (ToClient, "220 mail.example ESM", Unsure),
            (ToClient, "220 mail.example ready\r\n", Unsure),
            (
                ToClient,
                "220 mail.example ready\r\n250-mail.example\r\n",
                Certain,
            ),
            (
                ToClient,
                "220 ftp.example FTP server\r\n331 Password\r\n",
                NotForUs,
            ),
            (ToClient, "2", Unsure),
            (ToClient, "221 bye\r\n", NotForUs),
            (ToClient, "SSH-2.0-x\r\n", NotForUs),
        ] {
            assert_eq!(
                super::probe(direction, bytes.as_bytes()),
                probe,
                "{bytes:?}"
            );
        }
    }
}
