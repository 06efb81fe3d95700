//! Passwords and tokens: where they are, and how they are held.

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::path::PathBuf;

/// Bytes of the longest secret: tokens that carry claims come to some thousand, and servers
/// refuse a field of a header that is longer.
const LONGEST_SECRET: usize = 8 << 10;

/// The variable by which systemd tells where its credentials are (systemd.exec, "Credentials").
const CREDENTIALS_DIRECTORY: &str = "CREDENTIALS_DIRECTORY";

/// A password or token. It is never shown: `Debug` prints none of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The secret itself, to be sent and not to be shown.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Checks bytes from outside; one end of line behind them is not part of the secret.
    fn new(bytes: Vec<u8>) -> Result<Self, SecretProblem> {
        if bytes.len() > LONGEST_SECRET {
            return Err(SecretProblem::TooLong);
        }
        let mut text = String::from_utf8(bytes).map_err(|_| SecretProblem::NotText)?;
        if text.ends_with('\n') {
            text.pop();
            if text.ends_with('\r') {
                text.pop();
            }
        }
        if text.is_empty() {
            return Err(SecretProblem::Empty);
        }
        // a line feed within would end the header of a request (RFC 9110 section 5.5)
        if text.chars().any(char::is_control) {
            return Err(SecretProblem::NotText);
        }
        Ok(Self(text))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// Where a secret is. It is read when it is needed, so that a new one needs no restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// A file that holds nothing else.
    File(PathBuf),
    /// An environment variable, by name.
    Environment(String),
    /// A credential of systemd, by name: a file in `$CREDENTIALS_DIRECTORY`.
    Credential(String),
}

/// A secret as it was read.
#[derive(Debug)]
pub struct ReadSecret {
    /// The secret.
    pub secret: Secret,
    /// What an operator should mend though the secret is usable; `None`: nothing.
    pub warning: Option<String>,
}

/// A secret that cannot be used: which, and why. The text never holds any of it.
#[derive(Debug, thiserror::Error)]
#[error("{source_name}: {problem}")]
pub struct SecretError {
    /// The file or variable.
    pub source_name: String,
    /// What is wrong with it.
    pub problem: SecretProblem,
}

/// What makes a secret unusable; the text of each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum SecretProblem {
    /// The file cannot be read.
    #[error("it cannot be read: {0}")]
    Io(#[from] std::io::Error),
    /// The variable is not set.
    #[error("the environment variable is not set")]
    NotSet,
    /// Not started by systemd, or without any credential.
    #[error(
        "a credential of systemd, but $CREDENTIALS_DIRECTORY is not set: start watchpost as a \
         service with LoadCredential="
    )]
    NoCredentials,
    /// Anybody on this host can read it.
    #[error("every user of this host can read or write it (mode {0:04o}): chmod 600 it")]
    Exposed(u32),
    /// A folder, a device or the like.
    #[error("it is no regular file: name the file that holds the secret")]
    NotFile,
    /// No byte but the end of a line.
    #[error("it is empty: write the secret into it")]
    Empty,
    /// More than any secret.
    #[error("more than {LONGEST_SECRET} bytes: no secret is; is it the right file?")]
    TooLong,
    /// Bytes that no header of a request can carry.
    #[error("it is not one line of UTF-8 text: is it the right file?")]
    NotText,
}

impl SecretSource {
    /// How it is named to people: the file, `$VARIABLE`, or the credential.
    pub fn shown(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Environment(name) => format!("${name}"),
            Self::Credential(name) => format!("the credential {name}"),
        }
    }

    /// Reads the secret.
    ///
    /// # Errors
    /// When it is not there, exposed to every user of the host, or cannot be a secret.
    pub fn read(&self) -> Result<ReadSecret, SecretError> {
        self.read_with(|name| std::env::var_os(name))
    }

    /// As [`Self::read`], with another environment.
    pub(super) fn read_with(
        &self,
        environment: impl Fn(&str) -> Option<OsString>,
    ) -> Result<ReadSecret, SecretError> {
        let fail = |source_name: String| {
            move |problem| SecretError {
                source_name,
                problem,
            }
        };
        match self {
            Self::File(path) => read_file(path).map_err(fail(self.shown())),
            Self::Environment(name) => environment(name)
                .ok_or(SecretProblem::NotSet)
                .and_then(|value| Secret::new(value.into_encoded_bytes()))
                .map(|secret| ReadSecret {
                    secret,
                    warning: None,
                })
                .map_err(fail(self.shown())),
            Self::Credential(name) => {
                let Some(folder) = environment(CREDENTIALS_DIRECTORY) else {
                    return Err(fail(self.shown())(SecretProblem::NoCredentials));
                };
                let path = Path::new(&folder).join(name);
                let mut read = read_file(&path).map_err(fail(path.display().to_string()))?;
                // systemd gives the service access by a list that shows as rights of a group
                read.warning = None;
                Ok(read)
            }
        }
    }
}

/// Whether the private key of a certificate can be read, by nobody that must not: the warning to
/// give, if any. What is in it is not looked at.
///
/// # Errors
/// As [`SecretSource::read`].
pub fn check_private_file(path: &Path) -> Result<Option<String>, SecretError> {
    match open_private(path) {
        Ok((_, warning)) => Ok(warning),
        Err(problem) => Err(SecretError {
            source_name: path.display().to_string(),
            problem,
        }),
    }
}

fn read_file(path: &Path) -> Result<ReadSecret, SecretProblem> {
    let (file, warning) = open_private(path)?;
    let mut bytes = Vec::new();
    file.take(LONGEST_SECRET as u64 + 1)
        .read_to_end(&mut bytes)?;
    let secret = Secret::new(bytes)?;
    Ok(ReadSecret { secret, warning })
}

/// Opens a file that not everybody can read, and warns where its group can.
fn open_private(path: &Path) -> Result<(File, Option<String>), SecretProblem> {
    // opening a pipe would wait for who writes into it
    if !fs::metadata(path)?.is_file() {
        return Err(SecretProblem::NotFile);
    }
    let file = File::open(path)?;
    // of the file that is open, not of what the name leads to by now
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(SecretProblem::NotFile);
    }
    let mode = metadata.mode() & 0o7777;
    if mode & 0o007 != 0 {
        return Err(SecretProblem::Exposed(mode));
    }
    let warning = (mode & 0o070 != 0).then(|| {
        format!(
            "{}: its group can read or write it (mode {mode:04o}): chmod 600 it if that is not \
             meant",
            path.display()
        )
    });
    Ok((file, warning))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn what_is_a_secret() {
        for (bytes, expected) in [
            (&b"abc"[..], Ok("abc")),
            (b"abc\n", Ok("abc")),
            (b"abc\r\n", Ok("abc")),
            (b" a b ", Ok(" a b ")),
            ("pä\u{df}".as_bytes(), Ok("pä\u{df}")),
            (b"abc\n\n", Err("one line")),
            (b"a\nb", Err("one line")),
            (b"a\rX-Header: b", Err("one line")),
            (b"a\0", Err("one line")),
            (b"\xff", Err("one line")),
            (b"", Err("empty")),
            (b"\n", Err("empty")),
        ] {
            let secret = Secret::new(bytes.to_vec());
            match expected {
                Ok(text) => assert_eq!(secret.unwrap().expose(), text),
                Err(part) => {
                    let problem = secret.unwrap_err().to_string();
                    assert!(problem.contains(part), "{bytes:?}: {problem}");
                }
            }
        }
        assert!(Secret::new(vec![b'a'; LONGEST_SECRET]).is_ok());
        assert!(Secret::new(vec![b'a'; LONGEST_SECRET + 1]).is_err());
    }

    #[test]
    fn a_secret_is_never_shown() {
        let secret = Secret::new(b"hunter2".to_vec()).unwrap();
        let read = ReadSecret {
            secret,
            warning: None,
        };
        assert!(!format!("{read:?}{read:#?}").contains("hunter2"));
    }

    #[test]
    fn rights_of_the_file() {
        let folder = std::env::temp_dir().join(format!("watchpost-secret-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("password");
        fs::write(&path, "hunter2\n").unwrap();
        let source = SecretSource::File(path.clone());
        for (mode, usable, warned) in [
            (0o600, true, false),
            (0o400, true, false),
            (0o640, true, true),
            (0o660, true, true),
            (0o644, false, false),
            (0o602, false, false),
        ] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            match source.read() {
                Ok(read) => {
                    assert!(usable, "{mode:o}");
                    assert_eq!(read.warning.is_some(), warned, "{mode:o}");
                    assert_eq!(read.secret.expose(), "hunter2");
                }
                Err(error) => {
                    assert!(!usable, "{mode:o}: {error}");
                    assert!(error.to_string().contains("chmod 600"), "{error}");
                    assert!(!error.to_string().contains("hunter2"), "{error}");
                }
            }
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o440)).unwrap();
        let given = SecretSource::Credential("password".into());
        let read = given.read_with(|name| {
            assert_eq!(name, CREDENTIALS_DIRECTORY);
            Some(folder.clone().into_os_string())
        });
        assert!(read.unwrap().warning.is_none());
        assert!(given.read_with(|_| None).is_err());
        assert!(SecretSource::File(folder.clone()).read().is_err());
        assert!(SecretSource::File("/dev/zero".into()).read().is_err());
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn from_the_environment() {
        let source = SecretSource::Environment("EC3".into());
        let read = source.read_with(|name| (name == "EC3").then(|| "abc".into()));
        assert_eq!(read.unwrap().secret.expose(), "abc");
        let error = source.read_with(|_| None).unwrap_err().to_string();
        assert_eq!(error, "$EC3: the environment variable is not set");
    }
}
