//! Reads that come out wrong, though the disk has it right: what a controller, a cable or a network does.

use super::disk::{Disk, File};
use super::random::Random;
use super::{Repeat, Simulated, Step};
use bytes::Bytes;
use std::ops::Range;

/// How what is read comes out wrong.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> halite_backends::Result<()> {
/// use halite_backends::{Backend, Path, Repeat, Simulated, SimulatedOptions, Spoil};
/// let disk = Simulated::new(SimulatedOptions { map: false, ..SimulatedOptions::default() });
/// let path = Path::new("name")?;
/// disk.create(&path, "bytes".into()).await?;
/// disk.spoil_when(Spoil::Flipped, Repeat::Once, |step| step.path == "name");
/// let object = disk.open(&path).await?;
/// assert_ne!(object.read(0..5).await?, "bytes");
/// assert_eq!(object.read(0..5).await?, "bytes");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spoil {
    /// One bit is another one.
    Flipped,
    /// There are fewer bytes than were asked for.
    Short,
    /// They are those of another place in the file.
    Elsewhere,
    /// They are those that another file has there, as this one may have had once; zeros where none is so long.
    Stale,
}

/// A spoilt read that was planned.
pub(super) struct Spoiler {
    pub(super) spoil: Spoil,
    pub(super) matches: Box<dyn Fn(&Step<'_>) -> bool + Send>,
    /// How often it is yet to strike.
    pub(super) left: u32,
}

impl Simulated {
    /// Spoils reads that match; of a file that was made to grow never two in a row. (Damage at the end of a log is not told
    /// from a tail that a crash has torn, so what comes out wrong twice in the same way is lost.)
    pub fn spoil_when(&self, spoil: Spoil, repeat: Repeat, matches: impl Fn(&Step<'_>) -> bool + Send + 'static) {
        let left = match repeat {
            Repeat::Once => 1,
            Repeat::Times(times) => times,
            Repeat::Forever => u32::MAX,
        };
        self.disk.lock().spoilers.push(Spoiler { spoil, matches: Box::new(matches), left });
    }

    /// How many reads were spoilt so far.
    pub fn spoilt(&self) -> u64 {
        self.disk.lock().spoilt
    }
}

impl Disk {
    /// What a read of `file`, whose name is `path`, gives: what it has at `range`, or what was planned in its stead.
    pub(super) fn spoilt(&mut self, path: &str, file: &File, range: Range<usize>) -> Bytes {
        let mut inode = file.lock();
        let read = inode.read(range.clone());
        let was_misread = std::mem::take(&mut inode.misread);
        let step = Step { number: self.steps, op: "read", effect: "read", path };
        let strikes = |spoiler: &mut Spoiler| {
            let strikes = spoiler.left > 0 && (spoiler.matches)(&step);
            if strikes && spoiler.left < u32::MAX {
                spoiler.left -= 1;
            }
            strikes.then_some(spoiler.spoil)
        };
        if read.is_empty() || was_misread && inode.is_log {
            return read;
        }
        let Some(spoil) = self.spoilers.iter_mut().find_map(strikes) else { return read };
        self.spoilt += 1;
        *self.strikes.entry("read").or_default() += 1;
        inode.misread = true;
        match spoil {
            Spoil::Flipped => flipped(read, &mut self.random),
            Spoil::Short => read.slice(..self.random.below(read.len() as u64) as usize),
            Spoil::Elsewhere => {
                let start = self.random.below(inode.len() - read.len() as u64 + 1) as usize;
                inode.read(start..start + read.len())
            }
            Spoil::Stale => {
                // One at a time, and a name may be another one of the same file.
                drop(inode);
                self.read_of_others(path, range)
            }
        }
    }

    /// What one of the files that are not called `path` has at `range`.
    fn read_of_others(&mut self, path: &str, range: Range<usize>) -> Bytes {
        let others = self.names.iter().filter(|(name, _)| name.as_str() != path);
        let others: Vec<Bytes> =
            others.filter_map(|(_, file)| file.lock().shared()).filter(|bytes| bytes.len() >= range.end).collect();
        match others.len() as u64 {
            0 => vec![0; range.len()].into(),
            count => others[self.random.below(count) as usize].slice(range),
        }
    }
}

fn flipped(read: Bytes, random: &mut Random) -> Bytes {
    let mut bytes = read.to_vec();
    let at = random.below(bytes.len() as u64) as usize;
    bytes[at] ^= 1 << random.below(8);
    bytes.into()
}
