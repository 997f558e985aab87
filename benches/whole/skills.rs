//! The skills that are pulled: the same bytes on every machine.

use std::io::Write;

use flate2::{Compression, GzBuilder};
use skillmount::reference::Digest;

use crate::support::Tar;

/// A skill to make.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    pub(crate) name: &'static str,
    /// As tables call it.
    pub(crate) title: &'static str,
    bytes: usize,
    files: usize,
    /// How many of 100 bytes do not compress.
    noise: usize,
}

/// Small, medium, large.
pub(crate) fn sizes(quick: bool) -> [Size; 3] {
    let size = |name, title, bytes, files, noise| Size { name, title, bytes, files, noise };
    match quick {
        false => [
            size("small", "20 KB", 20_000, 5, 25),
            size("medium", "10 MB, 300 files", 10_000_000, 300, 50),
            size("large", "200 MB, 3,000 files", 200_000_000, 3_000, 90),
        ],
        true => [
            size("small", "20 KB", 20_000, 5, 25),
            size("medium", "1 MB, 30 files", 1_000_000, 30, 50),
            size("large", "4 MB, 60 files", 4_000_000, 60, 90),
        ],
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compressed {
    Gzip,
    Zstd,
}

/// A blob with what a descriptor says of it.
#[derive(Debug, Clone)]
pub(crate) struct Layer {
    pub(crate) media_type: &'static str,
    pub(crate) bytes: Vec<u8>,
    pub(crate) diff_id: String,
}

impl Size {
    /// A directory of the skill's name with a SKILL.md, as tools that push directories make it.
    pub(crate) fn tar(&self) -> Vec<u8> {
        let mut noise = Noise(self.bytes as u64);
        let name = self.name;
        let document =
            format!("---\nname: {name}\ndescription: A skill to measure.\n---\n\nRead.\n");
        let mut tar = Tar::new().dir(name).file(&format!("{name}/SKILL.md"), document, 0o644);
        tar = tar.dir(&format!("{name}/data"));
        for number in 0..self.files - 1 {
            let content = noise.content(self.bytes / self.files, self.noise);
            tar = tar.file(&format!("{name}/data/{number:04}.txt"), content, 0o644);
        }
        tar.build()
    }

    pub(crate) fn layer(&self, tar: &[u8], compressed: Compressed) -> Layer {
        let (media_type, bytes) = match compressed {
            Compressed::Gzip => ("application/vnd.oci.image.layer.v1.tar+gzip", gzip(tar)),
            Compressed::Zstd => {
                ("application/vnd.oci.image.layer.v1.tar+zstd", zstd::encode_all(tar, 3).unwrap())
            }
        };
        Layer { media_type, bytes, diff_id: Digest::sha256(tar).to_string() }
    }
}

impl Layer {
    /// The same files in other bytes: the time in the gzip header is `number`. To a store this is
    /// a layer that it does not have.
    pub(crate) fn variant(&self, number: u32) -> Self {
        let mut layer = self.clone();
        layer.bytes[4..8].copy_from_slice(&number.to_le_bytes());
        layer
    }
}

fn gzip(tar: &[u8]) -> Vec<u8> {
    let mut encoder = GzBuilder::new().write(Vec::new(), Compression::new(6));
    encoder.write_all(tar).unwrap();
    encoder.finish().unwrap()
}

/// xorshift64.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Noise and words in turns, so that no compressor can store a block as it is.
    fn content(&mut self, bytes: usize, noise: usize) -> Vec<u8> {
        const TURN: usize = 1000;
        let mut content = Vec::with_capacity(bytes + 2 * TURN);
        while content.len() < bytes {
            let end = content.len() + TURN * noise / 100;
            while content.len() < end {
                content.extend_from_slice(&self.next().to_le_bytes());
            }
            let end = content.len() + TURN * (100 - noise) / 100;
            while content.len() < end {
                let word = format!("step {} of the review\n", self.next() % 1000);
                content.extend_from_slice(word.as_bytes());
            }
        }
        content.truncate(bytes);
        content
    }
}
