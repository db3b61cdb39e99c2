//! Processes that train together, each with devices of its own, on one machine or several.
//!
//! Node 0 is the head, to which the others connect by TCP. In an exchange every node sends it what it
//! has; the head combines all, in the order of the nodes, and sends the outcome to each: the same bytes
//! everywhere. Every node reads the same data under the same configuration and keeps a whole run
//! folder of its own.
//!
//! Nothing is encrypted and nobody proves who they are: the network must be a trusted one.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::ops::Range;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use socket2::{SockRef, TcpKeepalive};

/// Which of several nodes a process is; `0/2` is the first of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seat {
    /// The node, from 0.
    pub node: usize,
    /// How many there are.
    pub nodes: usize,
}

impl FromStr for Seat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let seat = text.split_once('/').and_then(|(node, nodes)| {
            Some(Self { node: node.parse().ok()?, nodes: nodes.parse().ok()? })
        });
        seat.filter(|seat| seat.node < seat.nodes && u16::try_from(seat.nodes).is_ok())
            .ok_or_else(|| "a node is written `NODE/NODES`, as in `0/2` and `1/2` of two".into())
    }
}

impl fmt::Display for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.node, self.nodes)
    }
}

/// What keeps nodes from training together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NodesError {
    /// An address at which the head cannot listen.
    #[error("node 0 cannot listen at `{head}`: {cause}")]
    Listen {
        /// The address.
        head: String,
        /// Why.
        cause: String,
    },
    /// A head that did not answer.
    #[error("nobody answers as node 0 at `{head}`: {cause}")]
    NoHead {
        /// Its address.
        head: String,
        /// Why, at the last try.
        cause: String,
    },
    /// A node that did not come to the head.
    #[error("node {node} did not come to `{head}`")]
    Missing {
        /// The node, from 0; the first that is missing.
        node: usize,
        /// The head's address.
        head: String,
    },
    /// A head that waits for others.
    #[error("node 0 at `{head}` takes no node `{seat}`: {cause}")]
    Refused {
        /// Its address.
        head: String,
        /// Who came.
        seat: String,
        /// Why.
        cause: String,
    },
    /// A node that went away.
    #[error("node {node} has gone: {cause}")]
    Lost {
        /// The node, from 0.
        node: usize,
        /// What the connection to it says.
        cause: String,
    },
    /// A run folder that another node writes.
    #[error("the run folder `{}` is another node's", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
    },
    /// A node that would train something else.
    #[error("the nodes differ in {what}: {difference}")]
    Differ {
        /// In what.
        what: String,
        /// How.
        difference: String,
    },
}

impl NodesError {
    /// What to do about it, where that is known.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Listen { .. } => {
                "`--head` is an address of node 0's own machine with a free port"
            }
            Self::NoHead { .. } => {
                "start node 0 too; every node gets the same `--head`, which the others can reach"
            }
            Self::Missing { .. } => "start every node, all with the same `--head`",
            Self::Refused { .. } => "of N nodes each gets one of `--node 0/N` to `--node N-1/N`",
            Self::Lost { .. } => {
                "its own output says why; `--resume` on every node goes on from node 0's newest checkpoint"
            }
            Self::Folder { .. } => "give every node a `--run-dir` of its own",
            Self::Differ { .. } => "every node wants the same version, configuration and data",
        };
        Some(hint.into())
    }
}

/// This process's connections to the nodes that it trains with.
#[derive(Debug)]
pub struct Nodes {
    node: usize,
    /// How many devices each node has.
    devices: Vec<usize>,
    /// Of the head: to all others, in order. Of another: to the head.
    links: Mutex<Vec<TcpStream>>,
}

/// Before anything else each node sends this, which names the protocol, its number and how many there
/// are to be.
const MAGIC: &[u8; 8] = b"samtone1";
const GREETING: usize = MAGIC.len() + 4;

/// The head's answers to it.
const WELCOME: u8 = 0;
const TAKEN: u8 = 1;
const OTHER_COUNT: u8 = 2;
/// What a node answers to its welcome: it is still there.
const THANKS: u8 = 3;
/// What the head says when all are there; nobody speaks before.
const BEGIN: u8 = 4;

/// How long a stranger may take to say who it is.
const GREETING_TIME: Duration = Duration::from_secs(5);
/// Between two looks for a node that is not there yet.
const PAUSE: Duration = Duration::from_millis(50);
/// A machine that says nothing for so long, and then does not answer, is gone.
const SILENCE: Duration = Duration::from_mins(1);
/// Instead of a message's length: the head has lost a node, whose number follows.
const LOST: u64 = u64::MAX;

impl Nodes {
    /// Meets the other nodes at `head`, `HOST:PORT` of node 0, and waits for them at most `patience`. This
    /// one has so many `devices`.
    ///
    /// # Errors
    /// If they do not all come.
    pub fn meet(
        seat: Seat,
        devices: usize,
        head: &str,
        patience: Duration,
    ) -> Result<Self, NodesError> {
        let until = Instant::now() + patience;
        let links = if seat.node == 0 {
            let mut links = await_all(seat, head, until)?;
            for (i, link) in links.iter_mut().enumerate() {
                link.write_all(&[BEGIN]).map_err(lost(i + 1))?;
            }
            links
        } else {
            let mut link = join(seat, head, until)?;
            link.read_exact(&mut [0]).map_err(lost(0))?;
            vec![link]
        };
        let mut met = Self { node: seat.node, devices: Vec::new(), links: Mutex::new(links) };
        let all = met.exchange((devices as u32).to_le_bytes().to_vec(), |all| all.concat())?;
        let counts = all.as_chunks().0;
        met.devices = counts.iter().map(|&count| u32::from_le_bytes(count) as usize).collect();
        Ok(met)
    }

    /// Which of the nodes this is.
    pub fn node(&self) -> usize {
        self.node
    }

    /// How many devices all nodes have.
    pub fn devices(&self) -> usize {
        self.devices.iter().sum()
    }

    /// Which of all devices are this node's.
    pub fn own_devices(&self) -> Range<usize> {
        let first = self.devices[..self.node].iter().sum();
        first..first + self.devices[self.node]
    }

    /// What the head's `combine` makes of what every node gives, in their order. Every node must call
    /// this as often, and in the same order, as the others.
    ///
    /// # Errors
    /// If a node is gone.
    pub fn exchange(
        &self,
        own: Vec<u8>,
        combine: impl FnOnce(Vec<Vec<u8>>) -> Vec<u8>,
    ) -> Result<Vec<u8>, NodesError> {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        if self.node > 0 {
            let head = &mut links[0];
            return send(head, &own).and_then(|()| receive(head)).map_err(lost(0));
        }
        let combined = lead(&mut links, own, combine);
        if let Err(NodesError::Lost { node, .. }) = &combined {
            for link in &mut *links {
                let _ = link.write_all(&[LOST, *node as u64].map(u64::to_le_bytes).concat());
            }
        }
        combined
    }

    /// Whether any node says so.
    ///
    /// # Errors
    /// If a node is gone.
    pub fn any(&self, own: bool) -> Result<bool, NodesError> {
        let any = |all: Vec<Vec<u8>>| vec![u8::from(all.concat().contains(&1))];
        Ok(self.exchange(vec![u8::from(own)], any)? == [1])
    }

    /// What the head gives.
    ///
    /// # Errors
    /// If a node is gone.
    pub fn of_head(&self, own: Vec<u8>) -> Result<Vec<u8>, NodesError> {
        let own = if self.node == 0 { own } else { Vec::new() };
        self.exchange(own, |mut all| all.swap_remove(0))
    }

    /// Checks that all nodes have the same text about `what`.
    ///
    /// # Errors
    /// The first line that is another, or that a node is gone.
    pub fn agree(&self, what: &str, own: &str) -> Result<(), NodesError> {
        let found = self.exchange(own.as_bytes().to_vec(), |all| {
            let other = all.iter().position(|other| *other != all[0]);
            other.map_or_else(Vec::new, |node| difference(node, &all[node], &all[0]).into_bytes())
        })?;
        if found.is_empty() {
            return Ok(());
        }
        let difference = String::from_utf8_lossy(&found).into_owned();
        Err(NodesError::Differ { what: what.into(), difference })
    }
}

/// The head's part in an exchange.
fn lead(
    links: &mut [TcpStream],
    own: Vec<u8>,
    combine: impl FnOnce(Vec<Vec<u8>>) -> Vec<u8>,
) -> Result<Vec<u8>, NodesError> {
    let mut all = vec![own];
    for link in &mut *links {
        let node = all.len();
        all.push(receive(link).map_err(lost(node))?);
    }
    let combined = combine(all);
    for (i, link) in links.iter_mut().enumerate() {
        send(link, &combined).map_err(lost(i + 1))?;
    }
    Ok(combined)
}

fn lost(node: usize) -> impl Fn(io::Error) -> NodesError {
    move |error| {
        let cause = match error.kind() {
            ErrorKind::UnexpectedEof => "it has closed the connection".into(),
            _ => error.to_string(),
        };
        NodesError::Lost { node, cause }
    }
}

/// The first line in which the text of `node` is not the head's.
fn difference(node: usize, theirs: &[u8], heads: &[u8]) -> String {
    let [theirs, heads] = [theirs, heads].map(String::from_utf8_lossy);
    let (mut theirs, mut heads) = (theirs.lines(), heads.lines());
    loop {
        match (theirs.next(), heads.next()) {
            (Some(theirs), Some(heads)) if theirs == heads => {}
            (theirs, heads) => {
                let [theirs, heads] = [theirs, heads].map(Option::unwrap_or_default);
                return format!("`{theirs}` at node {node}, `{heads}` at node 0");
            }
        }
    }
}

/// The head's connections to all others.
fn await_all(seat: Seat, head: &str, until: Instant) -> Result<Vec<TcpStream>, NodesError> {
    let fault =
        |error: io::Error| NodesError::Listen { head: head.into(), cause: error.to_string() };
    let listener = TcpListener::bind(head).map_err(fault)?;
    listener.set_nonblocking(true).map_err(fault)?;
    let mut links: Vec<Option<TcpStream>> = (1..seat.nodes).map(|_| None).collect();
    let is_missing = |link: &Option<TcpStream>| link.as_ref().is_none_or(is_gone);
    while let Some(missing) = links.iter().position(is_missing) {
        match listener.accept() {
            Ok((stream, _)) => {
                // A stranger is no reason to give up on the others.
                let _ = welcome(stream, seat.nodes, &mut links);
            }
            Err(_) if Instant::now() > until => {
                return Err(NodesError::Missing { node: missing + 1, head: head.into() });
            }
            Err(_) => sleep(PAUSE),
        }
    }
    Ok(links.into_iter().flatten().collect())
}

/// Puts the node that has come in `stream` into its place.
fn welcome(mut stream: TcpStream, nodes: usize, links: &mut [Option<TcpStream>]) -> io::Result<()> {
    // On some systems a connection inherits what its listener does.
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(GREETING_TIME))?;
    let mut greeting = [0; GREETING];
    stream.read_exact(&mut greeting)?;
    let Some(&[a, b, c, d]) = greeting.strip_prefix(MAGIC) else { return Ok(()) };
    let (node, count) =
        (usize::from(u16::from_le_bytes([a, b])), usize::from(u16::from_le_bytes([c, d])));
    let place = node.checked_sub(1).and_then(|place| links.get_mut(place));
    let place = match place {
        _ if count != nodes => return stream.write_all(&[OTHER_COUNT]),
        Some(place) if place.as_ref().is_none_or(is_gone) => place,
        _ => return stream.write_all(&[TAKEN]),
    };
    stream.write_all(&[WELCOME])?;
    // It may have given up while others were served.
    let mut thanks = [0];
    stream.read_exact(&mut thanks)?;
    if thanks == [THANKS] {
        settle(&stream)?;
        *place = Some(stream);
    }
    Ok(())
}

/// Whether the node that came in `stream`, and waits for the others, has left.
fn is_gone(stream: &TcpStream) -> bool {
    let peek = stream.set_nonblocking(true).and_then(|()| stream.peek(&mut [0]));
    let _ = stream.set_nonblocking(false);
    match peek {
        Ok(bytes) => bytes == 0,
        Err(error) => error.kind() != ErrorKind::WouldBlock,
    }
}

/// Another node's connection to the head.
fn join(seat: Seat, head: &str, until: Instant) -> Result<TcpStream, NodesError> {
    let refused = |cause: &str| NodesError::Refused {
        head: head.into(),
        seat: seat.to_string(),
        cause: cause.into(),
    };
    loop {
        match greet(seat, head, until) {
            Ok((stream, WELCOME)) => return Ok(stream),
            Ok((_, TAKEN)) => return Err(refused("that one is there already")),
            Ok(_) => return Err(refused("it waits for another number of nodes")),
            Err(error) if Instant::now() > until => {
                return Err(NodesError::NoHead { head: head.into(), cause: error.to_string() });
            }
            Err(_) => sleep(PAUSE),
        }
    }
}

/// A connection to the head, and how it was answered.
fn greet(seat: Seat, head: &str, until: Instant) -> io::Result<(TcpStream, u8)> {
    let mut stream = TcpStream::connect(head)?;
    // The head may have others to greet first.
    let left = until.saturating_duration_since(Instant::now());
    stream.set_read_timeout(Some(left.max(GREETING_TIME)))?;
    let mut greeting = MAGIC.to_vec();
    greeting.extend((seat.node as u16).to_le_bytes());
    greeting.extend((seat.nodes as u16).to_le_bytes());
    stream.write_all(&greeting)?;
    let mut answer = [0];
    stream.read_exact(&mut answer)?;
    if answer == [WELCOME] {
        stream.write_all(&[THANKS])?;
    }
    settle(&stream)?;
    Ok((stream, answer[0]))
}

/// From here on nodes wait for each other as long as the other's machine lives.
fn settle(stream: &TcpStream) -> io::Result<()> {
    stream.set_read_timeout(None)?;
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new().with_time(SILENCE).with_interval(SILENCE / 6);
    SockRef::from(stream).set_tcp_keepalive(&keepalive)
}

fn send(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(&(bytes.len() as u64).to_le_bytes())?;
    stream.write_all(bytes)
}

fn receive(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut length = [0; 8];
    stream.read_exact(&mut length)?;
    let length = u64::from_le_bytes(length);
    if length == LOST {
        let mut node = [0; 8];
        stream.read_exact(&mut node)?;
        return Err(io::Error::other(format!("it has lost node {}", u64::from_le_bytes(node))));
    }
    let mut bytes = vec![0; length as usize];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    /// An address at which nobody listens.
    fn free_address() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().to_string()
    }

    /// What `node` finds on each of `count` nodes; node i has i + 1 devices.
    fn on_each<T: Send>(count: usize, node: impl Fn(Nodes) -> T + Sync) -> Vec<T> {
        let head = free_address();
        std::thread::scope(|scope| {
            let start = |i| {
                let (head, node) = (&head, &node);
                let seat = Seat { node: i, nodes: count };
                scope.spawn(move || node(Nodes::meet(seat, i + 1, head, PATIENCE).unwrap()))
            };
            let threads: Vec<_> = (0..count).rev().map(start).collect();
            threads.into_iter().rev().map(|thread| thread.join().unwrap()).collect()
        })
    }

    #[test]
    fn all_get_what_the_head_makes_of_all_in_their_order() {
        let found = on_each(3, |nodes| {
            let own = vec![nodes.node as u8; nodes.node + 1];
            let all = nodes.exchange(own, |all| all.concat()).unwrap();
            let any = [nodes.any(nodes.node == 2).unwrap(), nodes.any(false).unwrap()];
            let head = nodes.of_head(vec![nodes.node as u8 + 7]).unwrap();
            (all, any, head, nodes.own_devices(), nodes.devices())
        });
        for (node, (all, any, head, own, devices)) in found.into_iter().enumerate() {
            assert_eq!(all, [0, 1, 1, 2, 2, 2]);
            assert_eq!((any, head, devices), ([true, false], vec![7], 6));
            assert_eq!(own, [0..1, 1..3, 3..6][node]);
        }
    }

    #[test]
    fn more_than_a_socket_holds_goes_through() {
        let length = 20 << 20;
        let sums = on_each(3, |nodes| {
            let all = nodes.exchange(vec![1; length], |all| all.concat()).unwrap();
            all.iter().map(|&byte| usize::from(byte)).sum::<usize>()
        });
        assert_eq!(sums, [3 * length; 3]);
    }

    #[test]
    fn nodes_that_differ_all_hear_where() {
        let found = on_each(3, |nodes| {
            nodes.agree("seed", "seed = 1\n").unwrap();
            let rate = if nodes.node == 2 { "lr = 2" } else { "lr = 1" };
            nodes.agree("the configuration", &format!("seed = 1\n{rate}\n")).unwrap_err()
        });
        for error in found {
            let expected =
                "the nodes differ in the configuration: `lr = 2` at node 2, `lr = 1` at node 0";
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn a_node_that_goes_is_named_to_all() {
        let found = on_each(3, |nodes| match nodes.node {
            2 => String::new(),
            _ => nodes.any(true).unwrap_err().to_string(),
        });
        assert_eq!(found[0], "node 2 has gone: it has closed the connection");
        assert_eq!(found[1], "node 0 has gone: it has lost node 2");
    }

    #[test]
    fn a_node_that_dies_before_all_are_there_may_come_again() {
        let head = free_address();
        let meet = |node| Nodes::meet(Seat { node, nodes: 3 }, 1, &head, PATIENCE);
        std::thread::scope(|scope| {
            let first = scope.spawn(|| meet(0));
            let until = Instant::now() + PATIENCE;
            drop(join(Seat { node: 1, nodes: 3 }, &head, until).unwrap());
            let nodes = [scope.spawn(|| meet(1)), scope.spawn(|| meet(2)), first];
            for node in nodes {
                assert_eq!(node.join().unwrap().unwrap().devices(), 3);
            }
        });
    }

    #[test]
    fn a_node_that_does_not_come_and_a_missing_head_are_named() {
        let soon = Duration::from_millis(100);
        let meet =
            |node, nodes, head: &str| Nodes::meet(Seat { node, nodes }, 1, head, soon).unwrap_err();
        let head = free_address();
        assert_eq!(meet(0, 2, &head), NodesError::Missing { node: 1, head: head.clone() });
        assert!(matches!(meet(1, 2, &head), NodesError::NoHead { .. }));
        assert!(matches!(meet(0, 2, "192.0.2.1:1"), NodesError::Listen { .. }));
    }

    #[test]
    fn strangers_doubles_and_other_counts_do_not_disturb() {
        let head = free_address();
        let meet = |node, nodes| Nodes::meet(Seat { node, nodes }, 1, &head, PATIENCE);
        std::thread::scope(|scope| {
            let first = scope.spawn(|| meet(0, 3).unwrap());
            let mut stranger = loop {
                match TcpStream::connect(&head) {
                    Ok(stream) => break stream,
                    Err(_) => sleep(PAUSE),
                }
            };
            stranger.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
            let second = scope.spawn(|| meet(1, 3).map(drop));
            let double = scope.spawn(|| meet(1, 3).map(drop));
            assert!(matches!(meet(1, 2), Err(NodesError::Refused { .. })));
            // Both would be node 1: one of them is turned away, whichever comes later.
            while !second.is_finished() && !double.is_finished() {
                sleep(PAUSE);
            }
            let third = scope.spawn(|| meet(2, 3).unwrap());
            let refused = [second.join().unwrap(), double.join().unwrap()];
            let count = refused.iter().filter(|one| matches!(one, Err(NodesError::Refused { .. })));
            assert_eq!(count.count(), 1, "{refused:?}");
            let (first, third) = (first.join().unwrap(), third.join().unwrap());
            assert_eq!((first.devices(), third.own_devices()), (3, 2..3));
        });
    }

    #[test]
    fn seats_are_read() {
        assert_eq!("1/2".parse(), Ok(Seat { node: 1, nodes: 2 }));
        for wrong in ["2/2", "1", "a/b", "-1/2", "0/0", "1/2/3", "0/70000"] {
            assert!(wrong.parse::<Seat>().is_err(), "{wrong}");
        }
    }
}
