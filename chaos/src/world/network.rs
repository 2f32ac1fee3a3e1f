//! Hosts, and the switch between them.
//!
//! Each host is a network namespace with one interface. The other end of the interface is a file of this process (a TAP
//! device), and what a host sends is read from there and written to the file of the host that it is for; or not, or later,
//! or twice, as the link from the one to the other says. Links have a direction each. TCP does in between what it does on
//! any bad network: nothing of it is simulated.

use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use parking_lot::{Condvar, Mutex, MutexGuard, RwLock};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::process::{Child, Command};

use super::sys;

/// The largest packet: large ones cost this process less.
const MTU: usize = 16_000;
/// Frames that wait on slow links; more are lost, as in a router.
const LATE: usize = 20_000;

/// A host, by its place in the world.
pub type HostNo = usize;

/// What happens to frames on the way from one host to another.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Link {
    /// Nothing arrives.
    pub cut: bool,
    /// So many of a thousand do not arrive.
    pub loss: u32,
    /// So many of a thousand arrive twice.
    pub twice: u32,
    /// Every frame takes so long.
    pub delay: Duration,
    /// And up to so much longer, each for itself, so that they overtake one another.
    pub jitter: Duration,
}

#[derive(Default)]
struct Way {
    link: RwLock<Link>,
    /// How many frames were lost here.
    lost: AtomicU64,
}

struct Late {
    frames: Mutex<BinaryHeap<LateFrame>>,
    changed: Condvar,
}

struct LateFrame {
    due: Instant,
    to: HostNo,
    bytes: Vec<u8>,
}

impl PartialEq for LateFrame {
    fn eq(&self, other: &Self) -> bool {
        self.due == other.due
    }
}
impl Eq for LateFrame {}
impl PartialOrd for LateFrame {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for LateFrame {
    /// The one that is due first is the greatest.
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        other.due.cmp(&self.due)
    }
}

struct Switch {
    ends: Vec<File>,
    /// From each host to each.
    ways: Vec<Vec<Way>>,
    late: Late,
}

/// The hosts of a world and the switch between them. Gone with the process.
pub struct Network {
    switch: Arc<Switch>,
    /// Keep the namespaces alive; the last host is this process itself and has none.
    holders: Vec<Child>,
}

impl Network {
    /// Makes so many hosts; the last one is this process, which must have a network namespace of its own.
    pub async fn make(hosts: usize, seed: u64) -> anyhow::Result<Self> {
        ip(None, "link set lo up").await?;
        let (mut ends, mut holders) = (Vec::new(), Vec::new());
        for host in 0..hosts {
            let name = format!("host{host}");
            ends.push(sys::tap(&name).with_context(|| format!("cannot make the interface {name}"))?);
            let holder = (host + 1 < hosts).then(hold).transpose()?;
            let inside = holder.as_ref().and_then(Child::id);
            if let Some(pid) = inside {
                unshared(pid).await?;
                ip(None, &format!("link set {name} netns {pid}")).await?;
                ip(inside, "link set lo up").await?;
            }
            holders.extend(holder);
            ip(inside, &format!("link set {name} address {} mtu {MTU} up", mac(host))).await?;
            ip(inside, &format!("addr add {}/24 dev {name}", addr(host))).await?;
            // Nobody has to ask who is where: on a bad network that alone could take seconds.
            for other in (0..hosts).filter(|other| *other != host) {
                let neighbour = format!("neigh replace {} lladdr {}", addr(other), mac(other));
                ip(inside, &format!("{neighbour} nud permanent dev {name}")).await?;
            }
        }
        let ways = (0..hosts).map(|_| (0..hosts).map(|_| Way::default()).collect()).collect();
        let late = Late { frames: Mutex::default(), changed: Condvar::new() };
        let switch = Arc::new(Switch { ends, ways, late });
        for host in 0..hosts {
            let (switch, random) = (switch.clone(), SmallRng::seed_from_u64(seed ^ host as u64));
            std::thread::Builder::new()
                .name(format!("switch-{host}"))
                .spawn(move || switch.carry(host, random))?;
        }
        let carrier = switch.clone();
        std::thread::Builder::new().name("switch-late".into()).spawn(move || carrier.carry_late())?;
        Ok(Self { switch, holders })
    }

    /// A command that runs on a host.
    pub fn command(&self, host: HostNo, program: &std::path::Path) -> Command {
        let mut command = Command::new("nsenter");
        let pid = self.holders.get(host).and_then(Child::id).expect("hosts live as long as their world");
        command.args([format!("--net=/proc/{pid}/ns/net"), "--".into()]).args(DIES_WITH_US).arg(program);
        command
    }

    /// Makes the way from one host to another like this.
    pub fn set(&self, from: HostNo, to: HostNo, link: Link) {
        *self.switch.ways[from][to].link.write() = link;
    }

    /// All ways are as good as they can be.
    pub fn heal(&self) {
        for way in self.switch.ways.iter().flatten() {
            *way.link.write() = Link::default();
        }
    }

    /// How many frames were lost on the way from one host to another so far.
    pub fn lost(&self, from: HostNo, to: HostNo) -> u64 {
        self.switch.ways[from][to].lost.load(Ordering::Relaxed)
    }
}

impl Switch {
    fn carry(&self, from: HostNo, mut random: SmallRng) {
        let mut frame = vec![0; MTU + 64];
        loop {
            let Ok(len) = (&self.ends[from]).read(&mut frame) else {
                // The interface goes down with its host.
                return;
            };
            let frame = &frame[..len];
            // The host that a frame is for is in its address; the rest is for everybody, and nobody here needs it.
            let to = match frame {
                [2, 0, 0, 0, 0, number, ..] => usize::from(*number).wrapping_sub(1),
                _ => continue,
            };
            let Some(way) = self.ways[from].get(to) else { continue };
            let link = *way.link.read();
            if link.cut || (link.loss > 0 && random.random_range(0..1000) < link.loss) {
                way.lost.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            let copies = 1 + u32::from(link.twice > 0 && random.random_range(0..1000) < link.twice);
            for _ in 0..copies {
                let delay = link.delay + link.jitter.mul_f64(random.random::<f64>());
                if delay.is_zero() {
                    // What an interface does not take is lost, as on a wire.
                    let _ = (&self.ends[to]).write(frame);
                } else {
                    self.keep(LateFrame { due: Instant::now() + delay, to, bytes: frame.to_vec() });
                }
            }
        }
    }

    fn keep(&self, frame: LateFrame) {
        let mut frames = self.late.frames.lock();
        if frames.len() < LATE {
            frames.push(frame);
            self.late.changed.notify_one();
        }
    }

    fn carry_late(&self) {
        let mut frames = self.late.frames.lock();
        loop {
            match frames.peek().map(|frame| frame.due) {
                None => self.late.changed.wait(&mut frames),
                Some(due) if due <= Instant::now() => {
                    if let Some(LateFrame { to, bytes, .. }) = frames.pop() {
                        // Meanwhile others are to be kept.
                        MutexGuard::unlocked(&mut frames, || {
                            let _ = (&self.ends[to]).write(&bytes);
                        });
                    }
                }
                Some(due) => {
                    self.late.changed.wait_until(&mut frames, due);
                }
            }
        }
    }
}

/// The address of a host.
pub fn addr(host: HostNo) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, number(host))
}

fn mac(host: HostNo) -> String {
    format!("02:00:00:00:00:{:02x}", number(host))
}

fn number(host: HostNo) -> u8 {
    u8::try_from(host + 1).expect("a world has a few hosts")
}

/// Whatever runs under this is killed when this process ends, however it ends.
const DIES_WITH_US: [&str; 3] = ["setpriv", "--pdeathsig", "KILL"];

/// A process that does nothing, in a network namespace of its own.
fn hold() -> anyhow::Result<Child> {
    let [program, args @ ..] = DIES_WITH_US;
    let holder = Command::new(program)
        .args(args)
        .args(["unshare", "--net", "sleep", "infinity"])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn();
    holder.context("cannot make a network namespace (unshare, setpriv of util-linux)")
}

/// Waits until the holder has left our namespace.
async fn unshared(pid: u32) -> anyhow::Result<()> {
    let ours = std::fs::read_link("/proc/self/ns/net")?;
    for _ in 0..1000 {
        let theirs = std::fs::read_link(format!("/proc/{pid}/ns/net"));
        let is_asleep =
            std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm == "sleep\n");
        if is_asleep && theirs.is_ok_and(|theirs| theirs != ours) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    bail!("process {pid} made no network namespace: is this run by root?")
}

/// Runs `ip`, in the network of the process `inside` if there is one.
async fn ip(inside: Option<u32>, args: &str) -> anyhow::Result<()> {
    let mut command = match inside {
        Some(pid) => {
            let mut command = Command::new("nsenter");
            command.args([&format!("--net=/proc/{pid}/ns/net"), "--", "ip"]);
            command
        }
        None => Command::new("ip"),
    };
    super::succeed(command.args(args.split(' '))).await
}
