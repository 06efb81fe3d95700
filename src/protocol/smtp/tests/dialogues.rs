//! What clients and servers say, and what is heard of it.

use crate::flow::Direction::ToClient;
use crate::flow::Direction::ToServer;
use crate::protocol::smtp::tests::Turn;
use crate::protocol::smtp::tests::client;
use crate::protocol::smtp::tests::file;
use crate::protocol::smtp::tests::partial;
use crate::protocol::smtp::tests::server;

type Dialogue = (&'static str, Vec<Turn>, Vec<String>);

/// Name, turns and events of each dialogue.
pub(super) fn dialogues() -> Vec<Dialogue> {
    let mut all = commands();
    all.extend(mails());
    all.extend(losses());
    all
}

/// The envelope that most mails here have.
const ENVELOPE: &str = "EHLO c\r\nMAIL FROM:<a@x.example>\r\nRCPT TO:<b@y.example>\r\n";

fn envelope() -> Vec<String> {
    heard(&["MailFrom a@x.example after 0", "RcptTo b@y.example after 1"])
}

fn heard(events: &[&str]) -> Vec<String> {
    events.iter().map(|event| (*event).to_owned()).collect()
}

fn after(mut events: Vec<String>, more: Vec<String>) -> Vec<String> {
    events.extend(more);
    events
}

/// A mail as the client sends it, after the envelope and with the server's agreement.
fn mail(text: &str) -> Vec<Turn> {
    vec![
        client(format!("{ENVELOPE}DATA\r\n")),
        server("250 c\r\n250 ok\r\n250 ok\r\n354 go\r\n"),
        client(format!("{text}\r\n.\r\n")),
        server("250 ok\r\n"),
    ]
}

fn commands() -> Vec<Dialogue> {
    let simple = "Subject: s\r\nFrom: A <a@x.example>\r\nTo: b@y.example\r\n\r\nhello";
    let simple_events = || {
        heard(&[
            "mail \"s\" From=a@x.example To=b@y.example to 1",
            &file("-", "text/plain", "hello\r\n"),
        ])
    };
    let text = file("-", "text/plain", "hi\r\n");
    vec![
        ("a mail", mail(simple), after(envelope(), simple_events())),
        (
            "turn by turn",
            vec![
                server("220-s ESMTP\r\n220 ready\r\n"),
                client("EHLO c\r\n"),
                server("250-s\r\n250 PIPELINING\r\n"),
                client("mail from: <a@x.example> SIZE=100\r\n"),
                server("250 ok\r\n"),
                client("rcpt to:b@y.example\r\n"),
                server("250 ok\r\n"),
                client("data\r\n"),
                server("354 go\r\n"),
                client(simple),
                client("\r\n.\r\n"),
                server("250 ok\r\n"),
                client("QUIT\r\n"),
            ],
            after(envelope(), simple_events()),
        ),
        (
            "pipelined mails",
            vec![client(format!(
                "{ENVELOPE}DATA\r\n{simple}\r\n.\r\n{}DATA\r\n\r\nhi\r\n.\r\nQUIT\r\n",
                &ENVELOPE[8..]
            ))],
            after(
                after(envelope(), simple_events()),
                after(envelope(), heard(&["mail \"\" to 1", &text])),
            ),
        ),
        (
            "a refused recipient and refused data",
            vec![
                client(format!("{ENVELOPE}RCPT TO:<c@y.example>\r\nDATA\r\n")),
                server("250 c\r\n250 ok\r\n250 ok\r\n550 no\r\n451 later\r\n"),
                client("RSET\r\nMAIL FROM:<d@x.example>\r\n"),
            ],
            after(
                envelope(),
                heard(&["RcptTo c@y.example after 2", "MailFrom d@x.example after 0"]),
            ),
        ),
        (
            "a refused recipient, and data all the same",
            vec![
                client(format!("{ENVELOPE}RCPT TO:<c@y.example>\r\nDATA\r\n")),
                server("250 c\r\n250 ok\r\n250 ok\r\n550 no\r\n354 go\r\n"),
                client("RSET\r\n\r\nhi\r\n.\r\n"),
            ],
            after(
                envelope(),
                heard(&[
                    "RcptTo c@y.example after 2",
                    "mail \"\" to 2",
                    &file("-", "text/plain", "RSET\r\n\r\nhi\r\n"),
                ]),
            ),
        ),
        (
            "a null path and a nameless one",
            vec![client(
                "EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<postmaster>\r\nSOML FROM:<a@x>\r\n",
            )],
            heard(&["MailFrom a@x after 0"]),
        ),
        (
            "secrets are passed over",
            vec![
                client("EHLO c\r\nAUTH LOGIN\r\n"),
                server("250 c\r\n334 VXNlcm5hbWU6\r\n"),
                client("MAIL FROM:<secret@x.example>\r\n"),
                server("334 UGFzc3dvcmQ6\r\n"),
                client("DATA\r\n"),
                server("235 ok\r\n"),
                client("MAIL FROM:<a@x.example>\r\n"),
            ],
            heard(&["MailFrom a@x.example after 0"]),
        ),
        (
            "chunks",
            vec![client(format!(
                "{ENVELOPE}BDAT 21\r\nSubject: s\r\n\r\n.\r\n..ccBDAT 5 LAST\r\nc\r\nd\nMAIL FROM:<>\r\n"
            ))],
            after(
                envelope(),
                heard(&[
                    "mail \"s\" to 1",
                    &file("-", "text/plain", ".\r\n..ccc\r\nd\n"),
                ]),
            ),
        ),
        (
            "an empty last chunk, and a bad one",
            vec![client(format!(
                "{ENVELOPE}BDAT 4\r\n\r\nhiBDAT 0 LAST\r\nBDAT x\r\nBDAT 1\r\n\r"
            ))],
            after(
                envelope(),
                heard(&[
                    "mail \"\" to 1",
                    &file("-", "text/plain", "hi"),
                    "smtp.chunk-size",
                    "mail \"\" to 0",
                    "smtp.mail-cut",
                    &partial("-", "text/plain", 1),
                ]),
            ),
        ),
        (
            "chunks given up",
            vec![client(format!(
                "{ENVELOPE}BDAT 4\r\n\r\nhiRSET\r\nMAIL FROM:<c@x>\r\n"
            ))],
            after(
                envelope(),
                heard(&[
                    "mail \"\" to 1",
                    "smtp.mail-cut",
                    &partial("-", "text/plain", 2),
                    "MailFrom c@x after 0",
                ]),
            ),
        ),
        (
            "TLS",
            vec![
                client("EHLO c\r\nSTARTTLS\r\n"),
                server("220 s ESMTP\r\n250-s\r\n250 STARTTLS\r\n220 go\r\n\x16\x03"),
                client("\x16\x03\x01"),
            ],
            // the greeting came before the command, but was seen after it
            heard(&["switch ToClient at 13"]),
        ),
        (
            "TLS of which the server is not seen",
            vec![client("EHLO c\r\nSTARTTLS\r\n\x16\x03\x01\x02\x00")],
            heard(&["switch ToServer at 18"]),
        ),
        (
            "TLS refused",
            vec![
                client("STARTTLS\r\n"),
                server("454 not now\r\n"),
                client("MAIL FROM:<a@x.example>\r\n"),
            ],
            heard(&["smtp.starttls-injection", "MailFrom a@x.example after 0"]),
        ),
        (
            "dots",
            mail("\r\n..a\r\n.b\r\n...\r\n.."),
            after(
                envelope(),
                heard(&[
                    "mail \"\" to 1",
                    &file("-", "text/plain", ".a\r\nb\r\n..\r\n.\r\n"),
                ]),
            ),
        ),
        (
            "a dot that only some servers see",
            mail("\r\na\n.\r\nMAIL FROM:<c@x>\r\nb\n.\nc"),
            after(
                envelope(),
                heard(&[
                    "mail \"\" to 1",
                    "smtp.bare-lf-dot",
                    "smtp.bare-lf-dot",
                    &file("-", "text/plain", "a\n.\r\nMAIL FROM:<c@x>\r\nb\n.\nc\r\n"),
                ]),
            ),
        ),
        (
            "lines without CR throughout",
            vec![client("HELO c\nMAIL FROM:<a@x>\nDATA\n\n..a\n.\nQUIT\n")],
            heard(&[
                "MailFrom a@x after 0",
                "mail \"\" to 0",
                &file("-", "text/plain", ".a\n"),
            ]),
        ),
        (
            "a command that is too long",
            vec![client(format!(
                "NOOP {}\r\nMAIL FROM:<a@x>\r\n",
                "x".repeat(10_000)
            ))],
            heard(&["smtp.long-command", "MailFrom a@x after 0"]),
        ),
    ]
}

fn mails() -> Vec<Dialogue> {
    let mixed = "MIME-Version: 1.0\r\n\
        Content-Type: multipart/mixed; boundary=\"outer\"\r\n\
        Subject: =?utf-8?Q?caf=C3=A9?=\r\n\r\n\
        preamble http://no.example/\r\n\
        --outer\r\n\
        Content-Type: multipart/alternative;\r\n boundary=outer-inner\r\n\r\n\
        --outer-inner\r\n\r\n\
        see http://a.example/x.\r\n\
        --outer-inner  \r\n\
        Content-Type: text/html; charset=utf-8\r\n\
        Content-Transfer-Encoding: quoted-printable\r\n\r\n\
        <a href=3D\"http://a.exam=\r\nple/x\">x</a> <img src=3Dhttp://b.example/?a=3D1&amp;b>=20\r\n\r\n\
        --outer-inner--\r\n\
        --outer\r\n\
        Content-Type: application/octet-stream; name=\"=?utf-8?B?w6kuZXhl?=\"\r\n\
        Content-Transfer-Encoding: base64\r\n\r\n\
        TVqQAAMA\r\nAAAE\r\n\r\n\
        --outer\r\n\
        Content-Disposition: attachment; filename*0*=utf-8''na%C3%AFve; filename*1=.txt\r\n\r\n\
        one\r\ntwo\r\n\
        --outer--\r\n\
        epilogue http://no.example/\r\n--outer\r\nno part";
    let html = "<a href=\"http://a.example/x\">x</a> <img src=http://b.example/?a=1&amp;b> \r\n";
    let enclosed = "Content-Type: multipart/digest; boundary=d\r\n\r\n\
        --d\r\n\r\n\
        From: c@z.example\r\nSubject: within\r\n\r\n\
        inner\r\n\
        --d\r\n\
        Content-Type: message/rfc822\r\n\r\n\
        Content-Type: multipart/mixed; boundary=e\r\n\r\n\
        --e\r\nContent-Type: a/b\r\n\r\n1\r\n\
        --d\r\n\
        Content-Type: message/rfc822; name=x.eml\r\nContent-Transfer-Encoding: base64\r\n\r\n\
        QUJD\r\n\
        --d\r\n\
        Content-Type: message/rfc822; name=y.eml\r\nContent-Transfer-Encoding: base64\r\n\r\n\
        Content-Disposition: x; filename=z\r\n\r\nplain\r\n\
        --d--";
    let long = format!("\r\n{}\r\n.{}", "x".repeat(9_000), "y".repeat(9_000));
    let long_content = format!("{}\r\n{}\r\n", "x".repeat(9_000), "y".repeat(9_000));
    let text = |content: &str| file("-", "text/plain", content);
    vec![
        (
            "parts within parts",
            mail(mixed),
            after(
                envelope(),
                heard(&[
                    "mail of parts \"caf\u{e9}\" to 1",
                    &text("see http://a.example/x."),
                    &file("-", "text/html", html),
                    &file(
                        "\u{e9}.exe",
                        "application/octet-stream",
                        b"MZ\x90\0\x03\0\0\0\x04",
                    ),
                    &file("na\u{ef}ve.txt", "text/plain", "one\r\ntwo"),
                    "links http://a.example/x http://b.example/?a=1&b",
                ]),
            ),
        ),
        (
            "mails within mails",
            mail(enclosed),
            after(
                envelope(),
                heard(&[
                    "mail of parts \"\" to 1",
                    &text("inner"),
                    &file("-", "a/b", "1"),
                    &file("x.eml", "message/rfc822", "ABC"),
                    &file("z", "text/plain", "plain"),
                ]),
            ),
        ),
        (
            "a file alone",
            mail("Content-Type: a/b; name=c\r\nContent-Transfer-Encoding: BASE64\r\n\r\nQUJ\r\nD"),
            after(
                envelope(),
                heard(&["mail \"\" to 1", &file("c", "a/b", "ABC")]),
            ),
        ),
        (
            "a footer behind base64",
            mail("Content-Transfer-Encoding: base64\r\n\r\nQQ==\r\nlist footer"),
            after(
                envelope(),
                heard(&["mail \"\" to 1", "mime.base64-after-padding", &text("A")]),
            ),
        ),
        (
            "a multipart without boundary",
            mail("Content-Type: multipart/mixed\r\n\r\n--x\r\n\r\na"),
            after(
                envelope(),
                heard(&[
                    "mail of parts \"\" to 1",
                    &file("-", "multipart/mixed", "--x\r\n\r\na\r\n"),
                ]),
            ),
        ),
        (
            "a multipart that does not close",
            mail(
                "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\na\r\n\r\n--b\r\nX: y",
            ),
            after(
                envelope(),
                heard(&["mail of parts \"\" to 1", &text("a\r\n")]),
            ),
        ),
        (
            "no empty line",
            mail("Subject: s\r\nno field\r\nTo: none"),
            after(
                envelope(),
                heard(&["mail \"s\" to 1", &text("no field\r\nTo: none\r\n")]),
            ),
        ),
        (
            "a line of a mailbox first",
            mail("From a@x Thu Jan  1 00:00:00 1970\r\nSubject: s\r\n\r\na"),
            after(envelope(), heard(&["mail \"s\" to 1", &text("a\r\n")])),
        ),
        (
            "a header alone",
            mail("Subject: s"),
            after(envelope(), heard(&["mail \"s\" to 1"])),
        ),
        (
            "long lines",
            mail(&long),
            after(envelope(), heard(&["mail \"\" to 1", &text(&long_content)])),
        ),
    ]
}

fn losses() -> Vec<Dialogue> {
    let gap = |length| Turn::Gap(ToServer, length);
    let text = |size| partial("-", "text/plain", size);
    let data = || {
        vec![
            client(format!("{ENVELOPE}DATA\r\n")),
            server("250 c\r\n250 ok\r\n250 ok\r\n354 go\r\n"),
        ]
    };
    let with = |turns: Vec<Turn>| [data(), turns].concat();
    vec![
        (
            "the mail is cut",
            with(vec![client("Subject: s\r\n\r\nhello")]),
            after(
                envelope(),
                heard(&["mail \"s\" to 1", "smtp.mail-cut", &text(5)]),
            ),
        ),
        (
            "the header is cut",
            with(vec![client("Subject: s\r\nTo: x@y")]),
            after(
                envelope(),
                heard(&["mail \"s\" To=x@y to 1", "smtp.mail-cut"]),
            ),
        ),
        (
            "a gap in the text",
            with(vec![
                client("\r\nhello"),
                gap(10),
                client("st\r\nof it\r\n.\r\nMAIL FROM:<c@x>\r\n"),
            ]),
            after(
                envelope(),
                heard(&[
                    "mail \"\" to 1",
                    "smtp.gap",
                    &text(11),
                    "MailFrom c@x after 0",
                ]),
            ),
        ),
        (
            "a gap in the header",
            with(vec![
                client("Subject: s\r\nX: "),
                gap(10),
                client(": y\r\nTo: c@z\r\n\r\na\r\n.\r\n"),
            ]),
            after(
                envelope(),
                heard(&["smtp.gap", "mail \"s\" To=c@z to 1", &text(3)]),
            ),
        ),
        (
            "a gap for the end and the next command",
            with(vec![
                client("\r\nhello\r\n"),
                gap(10),
                client("x\r\nMAIL FROM:<c@x>\r\n"),
            ]),
            after(
                envelope(),
                heard(&[
                    "mail \"\" to 1",
                    "smtp.gap",
                    "smtp.mail-cut",
                    &text(10),
                    "MailFrom c@x after 0",
                ]),
            ),
        ),
        (
            "a gap for the end, which the server shows",
            with(vec![
                client("\r\nhello\r\n"),
                gap(10),
                server("250 ok\r\n"),
                client("x\r\nEHLO c\r\nMAIL FROM:<c@x>\r\n"),
            ]),
            after(
                envelope(),
                heard(&[
                    "mail \"\" to 1",
                    "smtp.gap",
                    "smtp.mail-cut",
                    &text(7),
                    "MailFrom c@x after 0",
                ]),
            ),
        ),
        (
            "a gap for the command that begins a mail",
            vec![
                client("EHLO c\r\nMAIL FROM:<a@x>\r\n"),
                gap(30),
                server("354 go\r\n"),
                client("Subject: s\r\n\r\na\r\n.\r\n"),
            ],
            heard(&[
                "MailFrom a@x after 0",
                "smtp.gap",
                "mail \"s\" to 0",
                &file("-", "text/plain", "a\r\n"),
            ]),
        ),
        (
            "a gap for the start of a mail",
            with(vec![
                gap(100),
                client("ct: x\r\nSubject: s\r\n\r\na\r\n.\r\n"),
            ]),
            after(
                envelope(),
                heard(&["smtp.gap", "mail \"s\" to 1", &text(3)]),
            ),
        ),
        (
            "a gap in a chunk and one beyond it",
            vec![
                client(format!("{ENVELOPE}BDAT 10 LAST\r\n\r\nab")),
                gap(3),
                client("cdeMAIL FROM:<c@x>\r\nBDAT 10\r\n\r\n"),
                gap(100),
                client("x\r\nMAIL FROM:<d@x>\r\n"),
            ],
            after(
                envelope(),
                heard(&[
                    "mail \"\" to 1",
                    "smtp.gap",
                    &text(3),
                    "MailFrom c@x after 0",
                    "mail \"\" to 0",
                    "smtp.gap",
                    "smtp.mail-cut",
                    "MailFrom d@x after 0",
                ]),
            ),
        ),
        (
            "gaps in the server's answers",
            vec![
                client(format!("{ENVELOPE}RCPT TO:<c@y>\r\nDATA\r\n")),
                server("250 c\r\n250 ok\r\n250 ok\r\n550 no\r\n"),
                Turn::Gap(ToClient, 8),
                client("Subject: s\r\n\r\na\r\n.\r\n"),
            ],
            after(
                envelope(),
                heard(&[
                    "RcptTo c@y after 2",
                    "mail \"s\" to 2",
                    &file("-", "text/plain", "a\r\n"),
                ]),
            ),
        ),
    ]
}
