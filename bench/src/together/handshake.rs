//! The handshake by which a generator joins a bench: both prove that they know the secret by an HMAC
//! over each other's nonce (RFC 2104 with SHA-256), the bench then says what the generator is. Lines of
//! JSON, bounded before either side is known to the other. A secret is never sent. Called by `gather` and
//! `role::join`.

use std::fmt;
use std::fs;
use std::io::{self, BufRead, Read, Write};
use std::path::Path;

use hmac::{Hmac, KeyInit, Mac};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use sirocco_loadgen::LoadgenConfig;

/// Version of these messages and of the commands after them.
pub const PROTOCOL: u32 = 1;

/// Longest line from somebody who has proven nothing, in bytes.
const STRANGER_BYTES_MAX: u64 = 2048;

/// Longest line from one who has, in bytes: settings with a population's names.
const KNOWN_BYTES_MAX: u64 = 4 << 20;

/// Shortest secret in bytes: what cannot be guessed by trying.
const SECRET_BYTES_MIN: usize = 16;

/// Longest name of a host that is kept.
const HOST_BYTES_MAX: usize = 64;

/// Octets of a nonce.
const NONCE_BYTES: usize = 16;

/// What both ends know and nobody else.
#[derive(Clone)]
pub struct Secret(Vec<u8>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl Secret {
    /// No secret: whoever reaches the port is let in. For loopback alone.
    #[must_use]
    pub fn none() -> Self {
        Self(Vec::new())
    }

    /// Reads a secret from a file; white space around it does not count.
    ///
    /// # Errors
    /// In words, when it cannot be read or is shorter than 16 bytes.
    pub fn read(path: &Path) -> Result<Self, String> {
        let octets = fs::read(path).map_err(|error| error.to_string())?;
        let secret = octets.trim_ascii();
        if secret.len() < SECRET_BYTES_MIN {
            return Err(format!(
                "a secret has {SECRET_BYTES_MIN} bytes or more; make one with `head -c 32 /dev/urandom | base64`"
            ));
        }
        Ok(Self(secret.to_vec()))
    }

    fn mac(&self, role: &str, nonces: [&str; 2]) -> Hmac<Sha256> {
        // HMAC takes a key of any length.
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("any length is a key");
        for part in [role, nonces[0], nonces[1]] {
            mac.update(part.as_bytes());
            mac.update(b"\0");
        }
        mac
    }

    fn proof(&self, role: &str, nonces: [&str; 2]) -> String {
        hex(&self.mac(role, nonces).finalize().into_bytes())
    }

    fn proves(&self, proof: &str, role: &str, nonces: [&str; 2]) -> bool {
        let Some(proof) = octets(proof) else {
            return false;
        };
        self.mac(role, nonces).verify_slice(&proof).is_ok()
    }
}

/// The first line of the bench.
#[derive(Serialize, Deserialize)]
struct Greeting {
    sirocco: String,
    protocol: u32,
    nonce: String,
}

/// The generator's answer.
#[derive(Serialize, Deserialize)]
struct Application {
    sirocco: String,
    protocol: u32,
    nonce: String,
    proof: String,
    host: String,
}

/// The bench's answer to that.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Answer {
    Refused(String),
    Taken(Box<Taken>),
}

#[derive(Serialize, Deserialize)]
struct Taken {
    proof: String,
    /// From 1.
    number: u16,
    of: u16,
    config: LoadgenConfig,
}

/// Somebody who has proven to know the secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applicant {
    /// Name of its host, as it says.
    pub host: String,
    nonces: [String; 2],
}

/// What a generator is told to be.
#[derive(Clone, Debug, PartialEq)]
pub struct Assignment {
    /// Its number, from 1.
    pub number: u16,
    /// How many there are.
    pub of: u16,
    /// What it is to be.
    pub config: LoadgenConfig,
}

/// Why a handshake failed.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The connection failed or the other side was silent.
    #[error("the connection failed: {0}")]
    Connection(#[from] io::Error),
    /// The other side does not speak this protocol.
    #[error("the other side is no sirocco {protocol}: {0}", protocol = env!("CARGO_PKG_VERSION"))]
    Stranger(String),
    /// The other side has another secret.
    #[error(
        "the secrets differ; give both sides the same --secret-file, or neither one on loopback"
    )]
    Secret,
    /// The bench refused, in its words.
    #[error("the bench refused: {0}")]
    Refused(String),
}

/// Bench's side, until the applicant is known: greets, reads, checks. A refusal is told to the other side.
///
/// # Errors
/// [`HandshakeError`]; the connection is of no more use then.
pub fn receive(
    reader: &mut impl BufRead,
    writer: &mut impl Write,
    secret: &Secret,
) -> Result<Applicant, HandshakeError> {
    let own = nonce()?;
    let greeting = Greeting {
        sirocco: env!("CARGO_PKG_VERSION").to_owned(),
        protocol: PROTOCOL,
        nonce: own.clone(),
    };
    tell(writer, &greeting)?;
    let refuse = |writer: &mut _, error: HandshakeError| {
        // Whoever does not listen to the refusal is gone, which is as well.
        tell(writer, &Answer::Refused(error.to_string())).ok();
        Err(error)
    };
    let application: Application = match hear(reader, STRANGER_BYTES_MAX) {
        Ok(application) => application,
        Err(error) => return refuse(writer, error),
    };
    if let Err(error) = same_version(&application.sirocco, application.protocol) {
        return refuse(writer, error);
    }
    let nonces = [own, application.nonce];
    if !secret.proves(&application.proof, "join", [&nonces[0], &nonces[1]]) {
        return refuse(writer, HandshakeError::Secret);
    }
    let plain = |letter: &char| letter.is_ascii_alphanumeric() || "-._".contains(*letter);
    let host = application.host.chars().filter(plain).take(HOST_BYTES_MAX);
    Ok(Applicant {
        host: host.collect(),
        nonces,
    })
}

/// Bench's side: takes an applicant and says what it is.
///
/// # Errors
/// The connection's.
pub fn take(
    writer: &mut impl Write,
    secret: &Secret,
    applicant: &Applicant,
    assignment: Assignment,
) -> io::Result<()> {
    let [own, theirs] = &applicant.nonces;
    let taken = Taken {
        proof: secret.proof("taken", [own, theirs]),
        number: assignment.number,
        of: assignment.of,
        config: assignment.config,
    };
    tell(writer, &Answer::Taken(Box::new(taken)))
}

/// Generator's side: applies and waits to be taken, which lasts until all are there.
///
/// # Errors
/// [`HandshakeError`].
pub fn apply(
    reader: &mut impl BufRead,
    writer: &mut impl Write,
    secret: &Secret,
    host: String,
) -> Result<Assignment, HandshakeError> {
    let greeting: Greeting = hear(reader, STRANGER_BYTES_MAX)?;
    same_version(&greeting.sirocco, greeting.protocol)?;
    let nonce = nonce()?;
    let nonces = [greeting.nonce.as_str(), nonce.as_str()];
    let application = Application {
        sirocco: env!("CARGO_PKG_VERSION").to_owned(),
        protocol: PROTOCOL,
        proof: secret.proof("join", nonces),
        nonce: nonce.clone(),
        host,
    };
    tell(writer, &application)?;
    match hear(reader, KNOWN_BYTES_MAX)? {
        Answer::Refused(why) => Err(HandshakeError::Refused(why)),
        Answer::Taken(taken) if !secret.proves(&taken.proof, "taken", nonces) => {
            Err(HandshakeError::Secret)
        }
        Answer::Taken(taken) => Ok(Assignment {
            number: taken.number,
            of: taken.of,
            config: taken.config,
        }),
    }
}

fn same_version(version: &str, protocol: u32) -> Result<(), HandshakeError> {
    if protocol == PROTOCOL && version == env!("CARGO_PKG_VERSION") {
        return Ok(());
    }
    let version: String = version
        .chars()
        .filter(|c| !c.is_control())
        .take(20)
        .collect();
    Err(HandshakeError::Stranger(format!(
        "it is version {version} with protocol {protocol}; start both sides from one build"
    )))
}

fn tell(writer: &mut impl Write, message: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    writer.write_all(&line)?;
    writer.flush()
}

fn hear<T: DeserializeOwned>(reader: &mut impl BufRead, most: u64) -> Result<T, HandshakeError> {
    let mut line = Vec::new();
    Read::take(&mut *reader, most).read_until(b'\n', &mut line)?;
    if line.last() != Some(&b'\n') {
        let why = if line.is_empty() {
            "it closed the connection"
        } else {
            "its line is too long"
        };
        return Err(HandshakeError::Stranger(why.to_owned()));
    }
    serde_json::from_slice(&line).map_err(|error| HandshakeError::Stranger(error.to_string()))
}

fn nonce() -> io::Result<String> {
    let mut octets = [0; NONCE_BYTES];
    getrandom::fill(&mut octets).map_err(io::Error::other)?;
    Ok(hex(&octets))
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// Reads hexadecimal digits; no other text is taken.
fn octets(text: &str) -> Option<Vec<u8>> {
    let nibble = |digit: u8| char::from(digit).to_digit(16).map(|nibble| nibble as u8);
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| Some(nibble(pair[0])? << 4 | nibble(*pair.get(1)?)?))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::BufReader;
    use std::net::{TcpListener, TcpStream};
    use std::thread;

    fn secret(text: &str) -> Secret {
        Secret(text.as_bytes().to_vec())
    }

    /// Both ends of a connection.
    fn pair() -> [TcpStream; 2] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        [near, listener.accept().unwrap().0]
    }

    type Outcome = (
        Result<Applicant, HandshakeError>,
        Result<Assignment, HandshakeError>,
    );

    /// A handshake of two sides with a secret each.
    fn shake(bench: &Secret, generator: Secret) -> Outcome {
        let [near, far] = pair();
        let other = thread::spawn(move || {
            let mut reader = BufReader::new(far.try_clone().unwrap());
            apply(&mut reader, &mut &far, &generator, "host\n-1".to_owned())
        });
        let mut reader = BufReader::new(near.try_clone().unwrap());
        let applicant = receive(&mut reader, &mut &near, bench);
        if let Ok(applicant) = &applicant {
            let assignment = Assignment {
                number: 2,
                of: 3,
                config: LoadgenConfig::default(),
            };
            take(&mut &near, bench, applicant, assignment).unwrap();
        }
        drop((reader, near));
        (applicant, other.join().unwrap())
    }

    #[test]
    fn those_who_share_a_secret_find_each_other() {
        for both in [secret("a long secret indeed"), Secret::none()] {
            let (applicant, assignment) = shake(&both.clone(), both);
            assert_eq!(applicant.unwrap().host, "host-1");
            let assignment = assignment.unwrap();
            assert_eq!((assignment.number, assignment.of), (2, 3));
            assert_eq!(assignment.config, LoadgenConfig::default());
        }
    }

    #[test]
    fn another_secret_is_refused_at_both_ends() {
        for (one, two) in [
            ("one secret of many", "other secret of many"),
            ("one secret of many", ""),
        ] {
            let (applicant, assignment) = shake(&secret(one), secret(two));
            assert!(matches!(applicant, Err(HandshakeError::Secret)));
            let error = assignment.expect_err("refused").to_string();
            assert!(error.contains("--secret-file"), "{error}");
        }
    }

    #[test]
    fn strangers_are_told_apart_and_cost_no_memory() {
        let said = |line: &[u8]| {
            let mut out = Vec::new();
            receive(&mut &line[..], &mut out, &Secret::none()).expect_err("a stranger");
            String::from_utf8(out).unwrap()
        };
        assert!(said(b"GET / HTTP/1.1\r\n\r\n").contains("refused"));
        assert!(said(&[b'x'; 1 << 20]).contains("too long"));
        assert!(said(b"").contains("closed"));
        let old = r#"{"sirocco":"0.0.1","protocol":0,"nonce":"","proof":"","host":""}"#;
        assert!(said(format!("{old}\n").as_bytes()).contains("one build"));
        // A proof that was overheard is worth nothing against another nonce.
        let replayed = format!(
            r#"{{"sirocco":"{}","protocol":1,"nonce":"0","proof":"00ff","host":""}}"#,
            env!("CARGO_PKG_VERSION")
        );
        assert!(said(format!("{replayed}\n").as_bytes()).contains("secrets differ"));
    }

    #[test]
    fn a_bench_that_does_not_know_the_secret_is_not_believed() {
        let greeting = Greeting {
            sirocco: env!("CARGO_PKG_VERSION").to_owned(),
            protocol: PROTOCOL,
            nonce: "00".to_owned(),
        };
        let taken = Taken {
            proof: "00".repeat(32),
            number: 1,
            of: 1,
            config: LoadgenConfig::default(),
        };
        let mut lines = Vec::new();
        tell(&mut lines, &greeting).unwrap();
        tell(&mut lines, &Answer::Taken(Box::new(taken))).unwrap();
        let result = apply(
            &mut &lines[..],
            &mut Vec::new(),
            &secret("own"),
            String::new(),
        );
        assert!(matches!(result, Err(HandshakeError::Secret)));
    }

    #[test]
    fn a_short_secret_is_no_secret() {
        let path = std::env::temp_dir().join(format!("sirocco-secret-{}", std::process::id()));
        fs::write(&path, "  short \n").unwrap();
        assert!(Secret::read(&path).expect_err("short").contains("urandom"));
        fs::write(&path, "  0123456789abcdef\n").unwrap();
        assert_eq!(Secret::read(&path).unwrap().0, b"0123456789abcdef");
        fs::remove_file(&path).unwrap();
        assert!(Secret::read(&path).is_err());
    }
}
