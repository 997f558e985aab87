//! The process's allocator: the system's, which is given large blocks back only after a while.
//!
//! musl maps each block of some KiB or more anew and unmaps it when it is freed, so that the kernel
//! clears its pages each time and interrupts every processor on which the process runs. A pull hands
//! hundreds of such blocks from the socket to the unpacker, and each call of kubelet takes two. Here
//! a block that is freed waits for the next one of its size. What waits is bounded, and goes back to
//! the system when the last pull has come to the disk ([`release`]).

use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, Ordering};

/// The size of the smallest blocks that are kept, in bytes. Sizes are powers of two.
const SMALLEST: usize = 4 << 10;

/// How many blocks of each size are kept: of 4 KiB to 1 MiB, 5 MiB in all.
const KEPT: [usize; 9] = [16, 16, 16, 16, 8, 8, 4, 2, 1];

/// The most of any size.
const SLOTS: usize = 16;

/// The strictest alignment that malloc gives to any block, on 64-bit machines.
const ALIGNED: usize = 16;

/// A place for a block that waits; null if none does.
type Slot = AtomicPtr<u8>;

static WAITING: [[Slot; SLOTS]; KEPT.len()] =
    [const { [const { AtomicPtr::new(null_mut()) }; SLOTS] }; KEPT.len()];

/// The system's allocator, with large blocks kept.
#[derive(Debug)]
pub struct Allocator;

/// The blocks' size class, if blocks of this layout are kept.
fn class(layout: &Layout) -> Option<usize> {
    if layout.size() <= SMALLEST / 2 || layout.align() > ALIGNED {
        return None;
    }
    let class = layout.size().next_power_of_two().max(SMALLEST) / SMALLEST;
    Some(class.trailing_zeros() as usize).filter(|class| *class < KEPT.len())
}

/// What a block of a class is to the system.
fn block(class: usize) -> Layout {
    let (size, align) = (SMALLEST << class, ALIGNED);
    // SAFETY: `align` is a power of two, and `size` is far from isize::MAX: class is below KEPT.len().
    unsafe { Layout::from_size_align_unchecked(size, align) }
}

fn slots(class: usize) -> &'static [Slot] {
    &WAITING[class][..KEPT[class]]
}

/// A block that waits; null if there is none.
fn take(class: usize) -> *mut u8 {
    let is_there = |slot: &&Slot| !slot.load(Ordering::Relaxed).is_null();
    let mut taken = slots(class).iter().filter(is_there);
    taken
        .find_map(|slot| {
            let block = slot.swap(null_mut(), Ordering::Acquire);
            (!block.is_null()).then_some(block)
        })
        .unwrap_or(null_mut())
}

/// Lets a block wait; false if there is no room.
fn keep(class: usize, block: *mut u8) -> bool {
    let put = |slot: &Slot| {
        let (order, failed) = (Ordering::Release, Ordering::Relaxed);
        slot.load(failed).is_null()
            && slot.compare_exchange(null_mut(), block, order, failed).is_ok()
    };
    slots(class).iter().any(put)
}

/// Gives all blocks that wait back to the system.
pub fn release() {
    for class in 0..KEPT.len() {
        for slot in slots(class) {
            let waiting = slot.swap(null_mut(), Ordering::Acquire);
            if !waiting.is_null() {
                // SAFETY: only `dealloc` puts blocks into slots, those that the system gave for this
                // layout; whoever takes one out owns it.
                unsafe { System.dealloc(waiting, block(class)) };
            }
        }
    }
}

// SAFETY: a block comes from the system, with at least the size and alignment that are asked for,
// and goes back with the layout that it came with: that of its class, which follows from the layout
// that it was asked for with, or just that layout. A waiting block is in one slot, and is taken out by
// one swap. Nothing here unwinds or allocates.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some(class) = class(&layout) else {
            // SAFETY: as the caller's.
            return unsafe { System.alloc(layout) };
        };
        let waiting = take(class);
        if waiting.is_null() {
            // SAFETY: the size of a class is not zero.
            return unsafe { System.alloc(block(class)) };
        }
        waiting
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let Some(class) = class(&layout) else {
            // SAFETY: as the caller's.
            return unsafe { System.alloc_zeroed(layout) };
        };
        let waiting = take(class);
        if waiting.is_null() {
            // SAFETY: the size of a class is not zero.
            return unsafe { System.alloc_zeroed(block(class)) };
        }
        // SAFETY: the block is ours alone, and at least as large as the layout.
        unsafe { waiting.write_bytes(0, layout.size()) };
        waiting
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        match class(&layout) {
            Some(class) if keep(class, pointer) => {}
            // SAFETY: it came from the system with this layout.
            Some(class) => unsafe { System.dealloc(pointer, block(class)) },
            // SAFETY: as the caller's.
            None => unsafe { System.dealloc(pointer, layout) },
        }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller's word for `new_size`, with the alignment of a layout that is valid.
        let new = unsafe { Layout::from_size_align_unchecked(new_size, layout.align()) };
        match (class(&layout), class(&new)) {
            (Some(old), Some(new)) if old == new => return pointer,
            // SAFETY: as the caller's.
            (None, None) => return unsafe { System.realloc(pointer, layout, new_size) },
            _ => {}
        }
        // SAFETY: the new block is another one, as large as `new`, and both hold what is copied; the
        // old one is the caller's to free.
        unsafe {
            let moved = self.alloc(new);
            if !moved.is_null() {
                moved.copy_from_nonoverlapping(pointer, layout.size().min(new_size));
                self.dealloc(pointer, layout);
            }
            moved
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    /// What waits is the process's.
    static ALONE: Mutex<()> = Mutex::new(());

    fn layout(size: usize) -> Layout {
        Layout::from_size_align(size, 8).unwrap()
    }

    fn waiting(class: usize) -> usize {
        slots(class).iter().filter(|slot| !slot.load(Ordering::Relaxed).is_null()).count()
    }

    #[test]
    fn sizes_have_classes() {
        let found = |size, align| class(&Layout::from_size_align(size, align).unwrap());
        for (size, expected) in [
            (1, None),
            (2048, None),
            (2049, Some(0)),
            (4096, Some(0)),
            (4097, Some(1)),
            (8192, Some(1)),
            (1 << 20, Some(8)),
            ((1 << 20) + 1, None),
            (isize::MAX as usize - 7, None),
        ] {
            assert_eq!(found(size, 8), expected, "{size}");
            if let Some(class) = expected {
                assert!(block(class).size() >= size, "{size}");
            }
        }
        assert_eq!(found(8192, 16), Some(1));
        assert_eq!(found(8192, 32), None);
        assert!(KEPT.iter().all(|kept| *kept <= SLOTS));
        let most: usize = (0..KEPT.len()).map(|class| KEPT[class] * block(class).size()).sum();
        assert!(most <= 6 << 20, "{most}");
    }

    #[test]
    fn a_freed_block_is_used_again_and_zeroed_where_that_is_wanted() {
        let _alone = ALONE.lock().unwrap();
        release();
        let size = 100_000;
        // SAFETY: layouts are not empty, and each block is freed once, with its layout.
        unsafe {
            let first = Allocator.alloc(layout(size));
            first.write_bytes(7, size);
            Allocator.dealloc(first, layout(size));
            assert_eq!(waiting(5), 1);
            let second = Allocator.alloc_zeroed(layout(size + 1000));
            assert_eq!((first, waiting(5)), (second, 0));
            let bytes = std::slice::from_raw_parts(second, size + 1000);
            assert!(bytes.iter().all(|byte| *byte == 0));
            Allocator.dealloc(second, layout(size + 1000));
            release();
            assert_eq!(waiting(5), 0);
        }
    }

    #[test]
    fn no_more_blocks_wait_than_there_is_room_for() {
        let _alone = ALONE.lock().unwrap();
        release();
        // SAFETY: as above.
        unsafe {
            let blocks: Vec<_> = (0..9).map(|_| Allocator.alloc(layout(200_000))).collect();
            blocks.iter().for_each(|block| Allocator.dealloc(*block, layout(200_000)));
        }
        assert_eq!(waiting(6), KEPT[6]);
        release();
    }

    #[test]
    fn a_block_that_grows_and_shrinks_keeps_its_bytes() {
        let _alone = ALONE.lock().unwrap();
        // SAFETY: as above; what is read was written.
        unsafe {
            let mut size = 100;
            let mut block = Allocator.alloc(layout(size));
            (0..size).for_each(|at| block.add(at).write(at as u8));
            for next in [2000, 3000, 4000, 5000, 70_000, 2 << 20, 3 << 20, 90_000, 3000, 120] {
                block = Allocator.realloc(block, layout(size), next);
                size = next;
                assert!((0..100).all(|at| block.add(at).read() == at as u8), "{size}");
            }
            Allocator.dealloc(block, layout(size));
        }
        release();
    }

    #[test]
    fn threads_share_what_waits() {
        let _alone = ALONE.lock().unwrap();
        std::thread::scope(|scope| {
            for thread in 0..4_u8 {
                scope.spawn(move || {
                    for round in 0..5000_usize {
                        let size = 3000 + round % 9 * 30_000;
                        // SAFETY: as above.
                        unsafe {
                            let block = Allocator.alloc(layout(size));
                            block.write_bytes(thread, size);
                            std::thread::yield_now();
                            let bytes = std::slice::from_raw_parts(block, size);
                            assert!(bytes.iter().all(|byte| *byte == thread));
                            Allocator.dealloc(block, layout(size));
                        }
                    }
                });
            }
        });
        release();
    }
}
