//! Waits for the generators that join a bench. Every connection shakes hands on a thread of its own, so
//! that one which says nothing keeps nobody out; there are few of these threads, and each gives up soon.
//! Called by `run::launch`.

use std::io::{self, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use sirocco_loadgen::LoadgenConfig;

use super::handshake::{self, Applicant, Assignment, HandshakeError, Secret};

/// Time for each line of a handshake.
const LINE_WITHIN: Duration = Duration::from_secs(3);

/// Time for a command to be taken by the other side's kernel.
const WRITE_WITHIN: Duration = Duration::from_secs(5);

/// Handshakes at once; more connections are closed unheard.
const HANDSHAKES_MAX: usize = 64;

/// How often the port and Ctrl-C are looked at.
const LOOK: Duration = Duration::from_millis(10);

/// Where generators join.
#[derive(Debug)]
pub struct Gathering {
    listener: TcpListener,
    secret: Secret,
    within: Duration,
}

/// A generator that joined.
#[derive(Debug)]
pub struct Joined {
    /// Where it connects from.
    pub peer: SocketAddr,
    /// Name of its host, as it says.
    pub host: String,
    /// Its lines; read them through this, since some may be in it already.
    pub reader: BufReader<TcpStream>,
}

/// Why not all are there.
#[derive(Debug, thiserror::Error)]
pub enum GatherError {
    /// The time is over.
    #[error(
        "{joined} of {count} generators joined {address} within {seconds} s{refusals}; start the others with \
         `sirocco loadgen --join {address}`, or give --join-within more time"
    )]
    Missing {
        /// How many joined.
        joined: usize,
        /// How many were wanted.
        count: usize,
        /// Where.
        address: SocketAddr,
        /// The time they had.
        seconds: u64,
        /// Who was refused, in words.
        refusals: String,
    },
    /// Ctrl-C.
    #[error("interrupted while waiting for generators")]
    Interrupted,
    /// The port failed.
    #[error("the port for generators failed: {0}")]
    Port(#[from] io::Error),
}

type Shaken = Result<(Joined, Applicant), HandshakeError>;

impl Gathering {
    /// Listens.
    ///
    /// # Errors
    /// The system's.
    pub fn open(address: SocketAddr, secret: Secret, within: Duration) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(Self {
            listener,
            secret,
            within,
        })
    }

    /// The address with the port that was opened.
    ///
    /// # Errors
    /// The system's.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Waits for as many generators as there are `configs`, in the order in which they come.
    ///
    /// # Errors
    /// [`GatherError`]; those that had joined see their connection close.
    pub fn gather(
        &self,
        configs: Vec<LoadgenConfig>,
        interrupted: &AtomicBool,
    ) -> Result<Vec<Joined>, GatherError> {
        let until = Instant::now() + self.within;
        let (shaken, results) = channel();
        let shaking = Arc::new(AtomicUsize::new(0));
        let (of, mut waiting) = (configs.len(), configs.into_iter());
        let (mut joined, mut refused) = (Vec::new(), Vec::new());
        while joined.len() < of {
            if interrupted.load(Ordering::Relaxed) {
                return Err(GatherError::Interrupted);
            }
            if Instant::now() >= until {
                return Err(self.missing(&joined, of, &refused));
            }
            self.accept(&shaken, &shaking)?;
            match self.take(&results, &mut waiting, (joined.len(), of)) {
                Some(Ok(one)) => joined.push(one),
                Some(Err(error)) => refused.push(error.to_string()),
                None => thread::sleep(LOOK),
            }
        }
        Ok(joined)
    }

    fn missing(&self, joined: &[Joined], count: usize, refused: &[String]) -> GatherError {
        let refusals = match refused.last() {
            Some(last) => format!(", {} were refused, the last because {last}", refused.len()),
            None => String::new(),
        };
        let nowhere = || ([0, 0, 0, 0], 0).into();
        GatherError::Missing {
            joined: joined.len(),
            count,
            address: self.address().unwrap_or_else(|_| nowhere()),
            seconds: self.within.as_secs(),
            refusals,
        }
    }

    /// Begins the handshake of whoever connects now.
    fn accept(&self, shaken: &Sender<Shaken>, shaking: &Arc<AtomicUsize>) -> io::Result<()> {
        let (stream, peer) = match self.listener.accept() {
            Ok(connection) => connection,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            // One that was gone before it was accepted says nothing about the port.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => return Ok(()),
            Err(error) => return Err(error),
        };
        if shaking.load(Ordering::Relaxed) >= HANDSHAKES_MAX {
            return Ok(());
        }
        shaking.fetch_add(1, Ordering::Relaxed);
        let (secret, shaken, shaking) = (self.secret.clone(), shaken.clone(), Arc::clone(shaking));
        thread::spawn(move || {
            // Nobody listens once all are there.
            shaken.send(shake(&stream, peer, &secret)).ok();
            shaking.fetch_sub(1, Ordering::Relaxed);
        });
        Ok(())
    }

    /// Takes the next one that has shaken hands.
    fn take(
        &self,
        results: &Receiver<Shaken>,
        configs: &mut std::vec::IntoIter<LoadgenConfig>,
        (before, of): (usize, usize),
    ) -> Option<Result<Joined, HandshakeError>> {
        let (joined, applicant) = match results.try_recv().ok()? {
            Ok(shaken) => shaken,
            Err(error) => return Some(Err(error)),
        };
        let assignment = Assignment {
            number: before as u16 + 1,
            of: of as u16,
            config: configs.as_slice().first()?.clone(),
        };
        let mut writer = joined.reader.get_ref();
        let taken = handshake::take(&mut writer, &self.secret, &applicant, assignment);
        if let Err(error) = taken {
            return Some(Err(error.into()));
        }
        configs.next();
        Some(Ok(joined))
    }
}

fn shake(stream: &TcpStream, peer: SocketAddr, secret: &Secret) -> Shaken {
    stream.set_nonblocking(false)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(LINE_WITHIN))?;
    stream.set_write_timeout(Some(WRITE_WITHIN))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let applicant = handshake::receive(&mut reader, &mut &*stream, secret)?;
    // From here on it is its silence that is watched, not a line.
    stream.set_read_timeout(None)?;
    let joined = Joined {
        peer,
        host: applicant.host.clone(),
        reader,
    };
    Ok((joined, applicant))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    const WITHIN: Duration = Duration::from_secs(20);

    fn gathering(within: Duration) -> (Gathering, SocketAddr) {
        let gathering =
            Gathering::open(([127, 0, 0, 1], 0).into(), Secret::none(), within).unwrap();
        let address = gathering.address().unwrap();
        (gathering, address)
    }

    /// Joins from a thread; the number it is given.
    fn join(address: SocketAddr) -> thread::JoinHandle<(u16, u16)> {
        thread::spawn(move || {
            let stream = TcpStream::connect(address).unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let assignment = handshake::apply(
                &mut reader,
                &mut &stream,
                &Secret::none(),
                "there".to_owned(),
            );
            let assignment = assignment.unwrap();
            (assignment.number, assignment.config.generator)
        })
    }

    fn configs(count: u16) -> Vec<LoadgenConfig> {
        let config = |generator| LoadgenConfig {
            generator,
            ..LoadgenConfig::default()
        };
        (0..count).map(config).collect()
    }

    #[test]
    fn all_join_though_strangers_hold_connections() {
        let (gathering, address) = gathering(WITHIN);
        let silent = TcpStream::connect(address).unwrap();
        let mut loud = TcpStream::connect(address).unwrap();
        loud.write_all(b"who is there?\n").unwrap();
        let joining = [join(address), join(address)];
        let joined = gathering
            .gather(configs(2), &AtomicBool::new(false))
            .unwrap();
        assert_eq!(joined.len(), 2);
        assert!(joined.iter().all(|one| one.host == "there"));
        let mut told = joining.map(|one| one.join().unwrap());
        told.sort_unstable();
        assert_eq!(told, [(1, 0), (2, 1)]);
        drop(silent);
    }

    #[test]
    fn too_few_are_told_with_what_to_type() {
        let (gathering, address) = gathering(Duration::from_millis(300));
        let one = join(address);
        let error = gathering.gather(configs(2), &AtomicBool::new(false));
        let error = error.expect_err("one of two").to_string();
        assert!(error.contains("1 of 2"), "{error}");
        assert!(error.contains(&format!("--join {address}")), "{error}");
        assert_eq!(one.join().unwrap(), (1, 0));
        let interrupted = gathering.gather(configs(1), &AtomicBool::new(true));
        assert!(matches!(interrupted, Err(GatherError::Interrupted)));
    }
}
