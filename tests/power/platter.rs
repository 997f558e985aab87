//! What a disk holds: what was flushed for certain, what was written since only perhaps.
//!
//! A disk with a volatile cache promises this much: what was written before a flush is there after
//! it. Until then each sector may or may not have come to the platter, in any order. Copying the file
//! behind a loop device shows less of that: such a copy has every write that was made, so that a
//! missing flush is never seen, and unless the copy is one moment's, it has orders that no disk is
//! allowed. Here a cut falls between two requests of the file system, and chance decides about each
//! sector that was not flushed.

use crate::support::Random;

/// A sector is written whole or not at all. Disks that call theirs 4 KiB do that.
const SECTOR: usize = 4096;

/// A write that was answered and not flushed.
struct Pending {
    at: usize,
    data: Vec<u8>,
}

/// What chance leaves of the writes that were not flushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fate {
    /// The disk wrote everything at once.
    AllKept,
    /// The disk wrote nothing by itself.
    AllLost,
    /// It wrote in order, and came so far.
    InOrder,
    /// It wrote in any order, and each sector has come or not.
    AnyOrder,
}

/// A disk's content.
pub(crate) struct Platter {
    /// What is read.
    current: Vec<u8>,
    /// What is there after a cut, whatever chance says.
    flushed: Vec<u8>,
    pending: Vec<Pending>,
    /// Chance, and the number of requests until it strikes.
    armed: Option<(Random, u64)>,
    /// Whether the power is gone. What still runs does not know, and goes on with a disk of which
    /// nothing will remain.
    cut: Option<Fate>,
    /// Writes and flushes since power came.
    requests: u64,
    lost: usize,
}

impl Platter {
    pub(crate) fn new(content: Vec<u8>) -> Self {
        let flushed = content.clone();
        let pending = vec![];
        Self { current: content, flushed, pending, armed: None, cut: None, requests: 0, lost: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.current.len()
    }

    pub(crate) fn read(&self, at: usize, len: usize) -> &[u8] {
        let at = at.min(self.len());
        &self.current[at..(at + len).min(self.len())]
    }

    /// Whether all of it is on the disk.
    pub(crate) fn write(&mut self, at: usize, data: &[u8]) -> bool {
        self.request();
        let Some(there) = self.current.get_mut(at..at + data.len()) else { return false };
        there.copy_from_slice(data);
        if self.cut.is_none() {
            self.pending.push(Pending { at, data: data.into() });
        }
        true
    }

    pub(crate) fn flush(&mut self) {
        self.request();
        if self.cut.is_none() {
            for Pending { at, data } in std::mem::take(&mut self.pending) {
                self.flushed[at..at + data.len()].copy_from_slice(&data);
            }
        }
    }

    /// Cuts the power before one of the next `within` requests.
    pub(crate) fn arm(&mut self, mut random: Random, within: u64) {
        let after = random.below(within);
        self.armed = Some((random, after));
    }

    fn request(&mut self) {
        self.requests += 1;
        if let Some((random, left)) = &mut self.armed {
            if *left == 0 {
                let random = random.clone();
                self.cut(random);
            } else {
                *left -= 1;
            }
        }
    }

    /// Cuts the power now, if it is not gone yet.
    pub(crate) fn cut(&mut self, mut random: Random) {
        self.armed = None;
        if self.cut.is_some() {
            return;
        }
        let fate = match random.below(8) {
            0 => Fate::AllKept,
            1 | 2 => Fate::AllLost,
            3 | 4 => Fate::InOrder,
            _ => Fate::AnyOrder,
        };
        let pending = std::mem::take(&mut self.pending);
        let kept_in_order = random.below(pending.len() as u64 + 1) as usize;
        for (number, Pending { at, data }) in pending.into_iter().enumerate() {
            // A write may begin and end anywhere; sectors do not.
            let mut start = 0;
            while start < data.len() {
                let end = data.len().min(((at + start) / SECTOR + 1) * SECTOR - at);
                let is_kept = match fate {
                    Fate::AllKept => true,
                    Fate::AllLost => false,
                    Fate::InOrder => number < kept_in_order,
                    Fate::AnyOrder => random.below(2) == 0,
                };
                match is_kept {
                    true => self.flushed[at + start..at + end].copy_from_slice(&data[start..end]),
                    false => self.lost += 1,
                }
                start = end;
            }
        }
        self.cut = Some(fate);
    }

    pub(crate) fn is_cut(&self) -> bool {
        self.cut.is_some()
    }

    /// Power comes back. How the cut was, how many sectors it took, and how many requests there were
    /// until everything stopped.
    pub(crate) fn power_on(&mut self) -> (Option<Fate>, usize, u64) {
        self.current.copy_from_slice(&self.flushed);
        self.pending.clear();
        self.armed = None;
        let outcome = (self.cut.take(), self.lost, self.requests);
        (self.lost, self.requests) = (0, 0);
        outcome
    }
}

#[test]
fn a_flush_is_kept_and_the_rest_is_left_to_chance() {
    let sector = |byte| [byte; SECTOR];
    let mut seen = std::collections::BTreeSet::new();
    for seed in 1..200 {
        let mut platter = Platter::new(vec![0; 4 * SECTOR]);
        assert!(platter.write(0, &[sector(1), sector(1)].concat()));
        platter.flush();
        assert!(platter.write(SECTOR, &[sector(2), sector(2), sector(2)].concat()));
        assert!(!platter.write(3 * SECTOR, &[0; SECTOR + 1]));
        platter.cut(Random::new(seed));
        // Too late.
        assert!(platter.write(0, &sector(3)));
        platter.flush();
        assert_eq!(platter.read(0, 1), [3]);
        let (fate, lost, requests) = platter.power_on();
        let found = [0, 1, 2, 3].map(|number| platter.read(number * SECTOR, 1)[0]);
        assert_eq!((found[0], requests), (1, 6));
        assert!([1, 2].contains(&found[1]) && [0, 2].contains(&found[2]), "{found:?}");
        assert_eq!(lost, found[1..].iter().filter(|byte| **byte != 2).count());
        match fate.unwrap() {
            Fate::AllKept => assert_eq!(found, [1, 2, 2, 2]),
            Fate::AllLost => assert_eq!(found, [1, 1, 0, 0]),
            Fate::InOrder => assert!([[1, 2, 2, 2], [1, 1, 0, 0]].contains(&found)),
            Fate::AnyOrder => drop(seen.insert(found)),
        }
    }
    assert_eq!(seen.len(), 8);
}
