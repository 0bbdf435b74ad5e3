//! The bytes of one file: what is read, and what would be left of it after a power cut.

use std::collections::HashSet;

/// What a disk writes whole or not at all.
const SECTOR: usize = 512;
/// What a file system gives to a file at a time.
const BLOCK: usize = 4096;

/// A change that no sync has made safe yet.
#[derive(Debug)]
enum Unsynced {
    Write(usize, Vec<u8>),
    Length(usize),
}

/// The bytes of a file.
#[derive(Debug, Default)]
pub(crate) struct Content {
    image: Vec<u8>,
    /// What a power cut leaves in any case.
    safe: Vec<u8>,
    unsynced: Vec<Unsynced>,
    /// The blocks that have room on the disk.
    blocks: HashSet<usize>,
}

impl Content {
    pub(crate) fn len(&self) -> usize {
        self.image.len()
    }

    pub(crate) fn read(&self, offset: usize, length: usize) -> &[u8] {
        let end = self.image.len().min(offset.saturating_add(length));
        self.image.get(offset..end).unwrap_or_default()
    }

    /// Whether a write needs no room that the file does not have yet.
    pub(crate) fn has_blocks(&self, offset: usize, length: usize) -> bool {
        blocks(offset, length).all(|block| self.blocks.contains(&block))
    }

    pub(crate) fn write(&mut self, offset: usize, data: &[u8]) {
        self.blocks.extend(blocks(offset, data.len()));
        let end = offset + data.len();
        self.image.resize(self.image.len().max(end), 0);
        self.image[offset..end].copy_from_slice(data);
        self.unsynced.push(Unsynced::Write(offset, data.to_vec()));
    }

    pub(crate) fn set_len(&mut self, length: usize) {
        self.blocks.retain(|block| block * BLOCK < length);
        self.image.resize(length, 0);
        self.unsynced.push(Unsynced::Length(length));
    }

    /// Gives the file room, and the length that goes with it.
    pub(crate) fn allocate(&mut self, offset: usize, length: usize) {
        self.blocks.extend(blocks(offset, length));
        if offset + length > self.image.len() {
            self.image.resize(offset + length, 0);
            self.unsynced.push(Unsynced::Length(offset + length));
        }
    }

    /// Makes what is unsynced safe, each change as `likely` as that, and forgets the rest. A sector that missed one
    /// change gets none of the later ones; its neighbours may.
    pub(crate) fn save(&mut self, likely: f64, random: &mut fastrand::Rng) {
        let mut missed = HashSet::new();
        let mut length_missed = false;
        for change in std::mem::take(&mut self.unsynced) {
            match change {
                Unsynced::Length(length) => {
                    length_missed |= random.f64() >= likely;
                    if !length_missed {
                        self.safe.resize(length, 0);
                    }
                }
                Unsynced::Write(offset, data) => {
                    for (at, piece) in sectors(offset, &data) {
                        if missed.contains(&(at / SECTOR)) || random.f64() >= likely {
                            missed.insert(at / SECTOR);
                            continue;
                        }
                        let end = at + piece.len();
                        self.safe.resize(self.safe.len().max(end), 0);
                        self.safe[at..end].copy_from_slice(piece);
                    }
                }
            }
        }
    }

    /// Cuts the power, and brings it back: what is read is what was safe, and some of the rest.
    pub(crate) fn cut(&mut self, random: &mut fastrand::Rng) {
        // Now and then nothing and now and then everything, so that the ends are met as well as the middle.
        let likely = [0.0, 0.5, 0.9, 1.0, random.f64()][random.usize(..5)];
        self.save(likely, random);
        self.image = self.safe.clone();
        self.blocks.retain(|block| block * BLOCK < self.image.len());
    }
}

/// The sectors of a write, each with its place.
fn sectors(offset: usize, data: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let (mut at, mut rest) = (offset, data);
    std::iter::from_fn(move || {
        let (piece, left) = rest.split_at(rest.len().min(SECTOR - at % SECTOR));
        let place = at;
        (at, rest) = (at + piece.len(), left);
        (!piece.is_empty()).then_some((place, piece))
    })
}

fn blocks(offset: usize, length: usize) -> impl Iterator<Item = usize> {
    offset / BLOCK..(offset + length).div_ceil(BLOCK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_synced_survives_and_each_sector_of_the_rest_by_itself() {
        let (mut random, mut torn) = (fastrand::Rng::with_seed(1), 0);
        for _ in 0..100 {
            let mut content = Content::default();
            content.write(0, &[1; 4 * SECTOR]);
            content.save(1.0, &mut random);
            content.write(SECTOR, &[2; 3 * SECTOR]);
            content.cut(&mut random);
            let found: Vec<u8> =
                content.read(0, content.len()).chunks(SECTOR).map(|sector| sector[0]).collect();
            assert!(
                content
                    .read(0, content.len())
                    .chunks(SECTOR)
                    .all(|sector| sector.iter().all(|byte| *byte == sector[0]))
            );
            assert_eq!((found.len(), found[0]), (4, 1));
            torn += usize::from(found[1..] != [1, 1, 1] && found[1..] != [2, 2, 2]);
        }
        assert!(torn > 10, "{torn}");
    }
}
