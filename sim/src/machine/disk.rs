//! What a power cut would leave of files.
//!
//! As ext4 does it: what is written to a file is durable when that file is synced; until then any part of it may be, in any
//! order. Names and lengths are in a journal: a sync of anything that waits in it makes all of it durable up to there, and a
//! power cut leaves some first part of the rest.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use libc::stat64;
use rand::Rng;
use rand::rngs::StdRng;

/// What the disk writes in one piece.
const SECTOR: usize = 512;
/// What files take of it.
const BLOCK: u64 = 4096;
/// Bytes of a disk that nobody fills.
const ROOM: u64 = 32 << 30;

/// A file of a model, whatever its names are.
type FileNo = u64;

/// What becomes of what was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// It is gone.
    All,
    /// All that was written up to some moment is there.
    Later,
    /// Of each write any sectors may be there.
    Torn,
}

/// The disks of all hosts: each is a directory below one.
pub struct Disks {
    root: PathBuf,
    hosts: BTreeMap<String, Disk>,
    /// The system's numbers of files that exist, to whose disk they belong and which they are.
    open: HashMap<(u64, u64), (String, FileNo)>,
    next: FileNo,
}

#[derive(Default)]
struct Disk {
    files: BTreeMap<FileNo, File>,
    /// What is there now.
    names: BTreeMap<PathBuf, FileNo>,
    /// What would be there after a power cut, at least.
    durable: Durable,
    journal: Vec<Change>,
    /// No calls are told any more.
    is_off: bool,
    /// What is asked to be synced is not, and whoever asks is told so.
    fails: bool,
    /// Bytes that are free, if somebody else has taken the others.
    room: Option<u64>,
}

#[derive(Clone, Default)]
struct Durable {
    names: BTreeMap<PathBuf, FileNo>,
    dirs: BTreeSet<PathBuf>,
}

#[derive(Default)]
struct File {
    durable: Vec<u8>,
    waiting: Vec<Op>,
    /// As it is now.
    length: u64,
    /// Up to here it has its blocks.
    allocated: u64,
    /// Something of it waits in the journal: its name, or its length.
    is_in_journal: bool,
}

enum Op {
    Write(u64, Vec<u8>),
    Length(u64),
}

#[derive(Clone)]
enum Change {
    Name(PathBuf, FileNo),
    Removed(PathBuf),
    Renamed(PathBuf, PathBuf),
    Dir(PathBuf),
}

impl Disks {
    /// Empty disks for these hosts, in directories below `root`, which is made anew.
    pub fn new(root: &Path, hosts: &[&str]) -> io::Result<Self> {
        if root.exists() {
            fs::remove_dir_all(root)?;
        }
        let mut disks = Self { root: root.to_owned(), hosts: BTreeMap::new(), open: HashMap::new(), next: 0 };
        for host in hosts {
            let dir = root.join(host);
            fs::create_dir_all(&dir)?;
            let mut disk = Disk::default();
            disk.durable.dirs.insert(dir);
            disks.hosts.insert((*host).to_owned(), disk);
        }
        Ok(disks)
    }

    /// Where a host has its files.
    pub fn dir(&self, host: &str) -> PathBuf {
        self.root.join(host)
    }

    /// From now on nothing that the host does reaches its disk.
    pub fn stop(&mut self, host: &str) {
        if let Some(disk) = self.hosts.get_mut(host) {
            disk.is_off = true;
        }
    }

    /// From now on syncs fail, until the power is cut.
    pub fn fail(&mut self, host: &str) {
        if let Some(disk) = self.hosts.get_mut(host) {
            disk.fails = true;
        }
    }

    /// Somebody else takes all that is free, until [`make_room`](Self::make_room).
    pub fn fill(&mut self, host: &str) {
        if let Some(disk) = self.hosts.get_mut(host) {
            disk.room = Some(0);
        }
    }

    /// There is as much room as there was.
    pub fn make_room(&mut self, host: &str) {
        if let Some(disk) = self.hosts.get_mut(host) {
            disk.room = None;
        }
    }

    /// The power is gone: files are as the disk has them. Nothing on the host may run. Returns how many bytes were lost.
    pub fn cut(&mut self, host: &str, cut: Cut, random: &mut StdRng) -> io::Result<u64> {
        let dir = self.dir(host);
        let Some(disk) = self.hosts.get_mut(host) else { return Ok(0) };
        let survives = match cut {
            Cut::All => 0,
            Cut::Later | Cut::Torn => random.random_range(0..=disk.journal.len()),
        };
        let mut durable = std::mem::take(&mut disk.durable);
        disk.journal[..survives].iter().for_each(|change| durable.apply(change));
        let mut files = Vec::new();
        let mut lost = 0;
        for (path, number) in &durable.names {
            let file = &disk.files[number];
            let content = file.after(cut, random);
            lost += file.waiting_bytes();
            files.push((path.clone(), content));
        }
        self.restore(host, &dir, durable.dirs, files)?;
        Ok(lost)
    }

    /// The process is gone, and the page cache is still there: files are as they were, and what waited to be synced does.
    pub fn kill(&mut self, host: &str) -> io::Result<()> {
        let dir = self.dir(host);
        let Some(mut disk) = self.hosts.remove(host) else { return Ok(()) };
        let mut now = disk.durable.clone();
        disk.journal.iter().for_each(|change| now.apply(change));
        fs::remove_dir_all(&dir)?;
        for dir in &now.dirs {
            fs::create_dir_all(dir)?;
        }
        self.open.retain(|_, (of, _)| of != host);
        for (path, number) in &disk.names {
            self.write(host, path, *number, &disk.files[number].now())?;
        }
        disk.is_off = false;
        self.hosts.insert(host.to_owned(), disk);
        Ok(())
    }

    /// Everything on a host's disk is lost. Nothing on the host may run.
    pub fn wipe(&mut self, host: &str) -> io::Result<()> {
        let dir = self.dir(host);
        self.restore(host, &dir.clone(), BTreeSet::from([dir]), Vec::new())
    }

    /// Whether what was told of a host's files is what they are.
    pub fn check(&self, host: &str) -> Result<(), String> {
        let disk = &self.hosts[host];
        for (path, number) in &disk.names {
            let file = &disk.files[number];
            let (known, found) = (file.now(), fs::read(path).map_err(|error| format!("{path:?}: {error}"))?);
            if known != found {
                let at = known.iter().zip(&found).position(|(known, found)| known != found);
                let lengths = (known.len(), found.len());
                return Err(format!("{path:?} is not as it was told: lengths {lengths:?}, first at {at:?}"));
            }
        }
        Ok(())
    }

    fn restore(
        &mut self,
        host: &str,
        dir: &Path,
        dirs: BTreeSet<PathBuf>,
        files: Vec<(PathBuf, Vec<u8>)>,
    ) -> io::Result<()> {
        fs::remove_dir_all(dir)?;
        for dir in &dirs {
            fs::create_dir_all(dir)?;
        }
        self.open.retain(|_, (of, _)| of != host);
        let mut disk = Disk { durable: Durable { dirs, ..Durable::default() }, ..Disk::default() };
        for (path, content) in files {
            self.next += 1;
            self.write(host, &path, self.next, &content)?;
            disk.names.insert(path.clone(), self.next);
            disk.durable.names.insert(path, self.next);
            let length = content.len() as u64;
            let file = File { durable: content, length, allocated: length, ..File::default() };
            disk.files.insert(self.next, file);
        }
        self.hosts.insert(host.to_owned(), disk);
        Ok(())
    }

    fn write(&mut self, host: &str, path: &Path, number: FileNo, content: &[u8]) -> io::Result<()> {
        use std::os::unix::fs::MetadataExt;
        fs::write(path, content)?;
        let found = fs::metadata(path)?;
        self.open.insert((found.dev(), found.ino()), (host.to_owned(), number));
        Ok(())
    }

    // What is asked.

    /// Bytes that are free on the disk that a path is on.
    pub(super) fn room(&self, path: &Path) -> u64 {
        let host = path.strip_prefix(&self.root).ok().and_then(|path| path.components().next());
        let disk = host.and_then(|host| self.hosts.get(host.as_os_str().to_str()?));
        disk.and_then(|disk| disk.room).unwrap_or(ROOM)
    }

    /// Whether a file can have its blocks up to there: then it has them.
    pub(super) fn has_room(&mut self, stat: &stat64, end: u64) -> bool {
        let Some((host, number)) = self.open.get(&(stat.st_dev, stat.st_ino)) else { return true };
        let Some(disk) = self.hosts.get_mut(host).filter(|disk| !disk.is_off) else { return true };
        let Some(file) = disk.files.get_mut(number) else { return true };
        let end = end.next_multiple_of(BLOCK);
        let wanted = end.saturating_sub(file.allocated);
        if let Some(room) = &mut disk.room {
            let Some(rest) = room.checked_sub(wanted) else { return false };
            *room = rest;
        }
        file.allocated = file.allocated.max(end);
        true
    }

    // What is told.

    pub(super) fn opened(&mut self, path: &Path, stat: &stat64, is_emptied: bool) {
        let Some((host, disk)) = of_path(&self.root, &mut self.hosts, path) else { return };
        if disk.names.contains_key(path) {
            if is_emptied {
                self.has_length(stat, 0);
            }
            return;
        }
        self.next += 1;
        let number = self.next;
        disk.files.insert(number, File { is_in_journal: true, ..File::default() });
        disk.names.insert(path.to_owned(), number);
        disk.journal.push(Change::Name(path.to_owned(), number));
        self.open.insert((stat.st_dev, stat.st_ino), (host, number));
    }

    pub(super) fn written(&mut self, stat: &stat64, pos: u64, bytes: &[u8]) {
        let Some((_, file)) = self.file(stat) else { return };
        let end = pos + bytes.len() as u64;
        if end > file.length {
            file.length = end;
            file.is_in_journal = true;
        }
        file.waiting.push(Op::Write(pos, bytes.to_vec()));
    }

    pub(super) fn has_length(&mut self, stat: &stat64, length: u64) {
        let Some((host, file)) = self.file(stat) else { return };
        file.length = length;
        file.is_in_journal = true;
        file.waiting.push(Op::Length(length));
        let rest = length.next_multiple_of(BLOCK).min(file.allocated);
        let freed = std::mem::replace(&mut file.allocated, rest) - rest;
        if let Some(disk) = self.hosts.get_mut(&host) {
            disk.frees(freed);
        }
    }

    /// Whether it was, as the next ones.
    pub(super) fn synced(&mut self, stat: &stat64) -> bool {
        let known = self.open.get(&(stat.st_dev, stat.st_ino));
        let fails = |disk: &Disk| disk.fails && !disk.is_off;
        if known.is_some_and(|(host, _)| self.hosts.get(host).is_some_and(fails)) {
            return false;
        }
        let Some((host, file)) = self.file(stat) else { return true };
        file.sync();
        if std::mem::take(&mut file.is_in_journal)
            && let Some(disk) = self.hosts.get_mut(&host)
        {
            disk.commit();
        }
        true
    }

    pub(super) fn synced_dir(&mut self, path: &Path) -> bool {
        let Some((_, disk)) = of_path(&self.root, &mut self.hosts, path) else { return true };
        if !disk.fails {
            disk.commit();
        }
        !disk.fails
    }

    pub(super) fn synced_all(&mut self, path: &Path) -> bool {
        let Some((_, disk)) = of_path(&self.root, &mut self.hosts, path) else { return true };
        if !disk.fails {
            disk.files.values_mut().for_each(File::sync);
            disk.commit();
        }
        !disk.fails
    }

    pub(super) fn renamed(&mut self, from: &Path, to: &Path) {
        let Some((_, disk)) = of_path(&self.root, &mut self.hosts, from) else { return };
        let change = Change::Renamed(from.to_owned(), to.to_owned());
        rename(&mut disk.names, from, to);
        disk.journal.push(change);
    }

    pub(super) fn removed(&mut self, path: &Path) {
        let Some((_, disk)) = of_path(&self.root, &mut self.hosts, path) else { return };
        let file = disk.names.remove(path).and_then(|number| disk.files.get(&number));
        disk.frees(file.map_or(0, |file| file.allocated));
        disk.journal.push(Change::Removed(path.to_owned()));
    }

    pub(super) fn made_dir(&mut self, path: &Path) {
        let Some((_, disk)) = of_path(&self.root, &mut self.hosts, path) else { return };
        disk.journal.push(Change::Dir(path.to_owned()));
    }

    fn file(&mut self, stat: &stat64) -> Option<(String, &mut File)> {
        let (host, number) = self.open.get(&(stat.st_dev, stat.st_ino))?;
        let disk = self.hosts.get_mut(host).filter(|disk| !disk.is_off)?;
        Some((host.clone(), disk.files.get_mut(number)?))
    }
}

fn of_path<'a>(
    root: &Path,
    hosts: &'a mut BTreeMap<String, Disk>,
    path: &Path,
) -> Option<(String, &'a mut Disk)> {
    let host = path.strip_prefix(root).ok()?.components().next()?.as_os_str().to_str()?;
    let disk = hosts.get_mut(host).filter(|disk| !disk.is_off)?;
    Some((host.to_owned(), disk))
}

/// Of a file, or of a directory and all that is in it.
fn rename(names: &mut BTreeMap<PathBuf, FileNo>, from: &Path, to: &Path) {
    let moved: Vec<PathBuf> = names.keys().filter(|path| path.starts_with(from)).cloned().collect();
    for path in moved {
        let Some(number) = names.remove(&path) else { continue };
        let place = match path.strip_prefix(from) {
            Ok(rest) if rest.as_os_str().is_empty() => to.to_owned(),
            Ok(rest) => to.join(rest),
            Err(_) => continue,
        };
        names.insert(place, number);
    }
}

impl Disk {
    fn frees(&mut self, bytes: u64) {
        self.room = self.room.map(|room| room + bytes);
    }

    fn commit(&mut self) {
        for change in self.journal.drain(..) {
            self.durable.apply(&change);
        }
        for file in self.files.values_mut() {
            file.is_in_journal &= file.waiting.iter().any(|op| matches!(op, Op::Length(_)));
        }
        let named: BTreeSet<FileNo> =
            self.durable.names.values().chain(self.names.values()).copied().collect();
        self.files.retain(|number, _| named.contains(number));
    }
}

impl Durable {
    fn apply(&mut self, change: &Change) {
        match change {
            Change::Name(path, number) => drop(self.names.insert(path.clone(), *number)),
            Change::Removed(path) => {
                self.names.remove(path);
                self.dirs.remove(path);
            }
            Change::Renamed(from, to) => {
                rename(&mut self.names, from, to);
                let moved: Vec<PathBuf> =
                    self.dirs.iter().filter(|dir| dir.starts_with(from)).cloned().collect();
                for dir in moved {
                    self.dirs.remove(&dir);
                    if let Ok(rest) = dir.strip_prefix(from) {
                        self.dirs.insert(to.join(rest));
                    }
                }
            }
            Change::Dir(path) => drop(self.dirs.insert(path.clone())),
        }
    }
}

impl File {
    fn sync(&mut self) {
        for op in self.waiting.drain(..) {
            op.apply(&mut self.durable);
        }
    }

    fn waiting_bytes(&self) -> u64 {
        let bytes = |op: &Op| match op {
            Op::Write(_, bytes) => bytes.len() as u64,
            Op::Length(_) => 0,
        };
        self.waiting.iter().map(bytes).sum()
    }

    fn now(&self) -> Vec<u8> {
        let mut content = self.durable.clone();
        self.waiting.iter().for_each(|op| op.apply(&mut content));
        content
    }

    fn after(&self, cut: Cut, random: &mut StdRng) -> Vec<u8> {
        let mut content = self.durable.clone();
        match cut {
            Cut::All => {}
            Cut::Later => {
                let survives = random.random_range(0..=self.waiting.len());
                self.waiting[..survives].iter().for_each(|op| op.apply(&mut content));
            }
            Cut::Torn => self.waiting.iter().for_each(|op| op.apply_some(&mut content, random)),
        }
        content
    }
}

impl Op {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Write(pos, bytes) => put(content, *pos as usize, bytes),
            Self::Length(length) => content.resize(*length as usize, 0),
        }
    }

    /// Any sectors of it, and not a length that is shorter: what was cut off is freed when the journal says so.
    fn apply_some(&self, content: &mut Vec<u8>, random: &mut StdRng) {
        match self {
            Self::Write(pos, bytes) => {
                let mut at = 0;
                while at < bytes.len() {
                    let to_next = SECTOR - (*pos as usize + at) % SECTOR;
                    let part = &bytes[at..bytes.len().min(at + to_next)];
                    if random.random() {
                        put(content, *pos as usize + at, part);
                    }
                    at += part.len();
                }
            }
            Self::Length(length) if *length as usize >= content.len() && random.random() => {
                content.resize(*length as usize, 0);
            }
            Self::Length(_) => {}
        }
    }
}

fn put(content: &mut Vec<u8>, pos: usize, bytes: &[u8]) {
    let end = pos + bytes.len();
    if content.len() < end {
        content.resize(end, 0);
    }
    content[pos..end].copy_from_slice(bytes);
}
