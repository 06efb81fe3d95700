//! Changes to inputs, from seeded numbers.

/// The longest input that mutation makes, in bytes: some packets, or a head with its body.
pub(super) const LONGEST: usize = 8 << 10;

/// Most changes to one input at once.
const MOST_CHANGES: usize = 8;

/// Numbers at the bounds of what lengths and counts can say.
const BOUNDS: [u64; 16] = [
    0,
    1,
    2,
    0x3f,
    0x40,
    0x7f,
    0x80,
    0xff,
    0x100,
    0x3fff,
    0x7fff,
    0xffff,
    0x1_0000,
    0x7fff_ffff,
    0xffff_ffff,
    u64::MAX,
];

/// Numbers that look random and are the same at every run (xorshift64*).
#[derive(Clone, Debug)]
pub(super) struct Numbers(u64);

impl Numbers {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `end`; 0 where that is 0.
    pub(super) fn below(&mut self, end: usize) -> usize {
        (self.next() >> 20) as usize % end.max(1)
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

/// Changes an input in one to some places; `other` is one to take pieces of, `words` are what
/// the format at hand is made of.
pub(super) fn mutate(
    input: &mut Vec<u8>,
    other: &[u8],
    words: &[&'static [u8]],
    numbers: &mut Numbers,
) {
    let changes = 1 + numbers.below(MOST_CHANGES).min(numbers.below(MOST_CHANGES));
    for _ in 0..changes {
        change(input, other, words, numbers);
    }
    input.truncate(LONGEST);
}

fn change(input: &mut Vec<u8>, other: &[u8], words: &[&'static [u8]], numbers: &mut Numbers) {
    if input.is_empty() {
        input.push(numbers.next() as u8);
    }
    let length = input.len();
    let at = numbers.below(length);
    match numbers.below(15) {
        0 => input[at] ^= 1 << numbers.below(8),
        1 => input[at] = numbers.next() as u8,
        2 => input[at] = input[at].wrapping_add(*numbers.pick(&[1, 0xff, 0x10, 0xf0])),
        3 => input.insert(at, numbers.next() as u8),
        4 => drop(input.drain(at..span(at, length, numbers))),
        // a piece once more, here or elsewhere
        5 => {
            let piece = input[at..span(at, length, numbers)].to_vec();
            let to = numbers.below(length + 1);
            input.splice(to..to, piece);
        }
        6 => input.truncate(at),
        7 | 8 if !words.is_empty() => {
            let word = *numbers.pick(words);
            let end = match numbers.below(2) {
                0 => at,
                _ => (at + word.len()).min(length),
            };
            input.splice(at..end, word.iter().copied());
        }
        9 | 10 if !other.is_empty() => {
            let from = numbers.below(other.len());
            let piece = &other[from..span(from, other.len(), numbers)];
            let end = match numbers.below(3) {
                0 => at,
                1 => (at + piece.len()).min(length),
                _ => length,
            };
            input.splice(at..end, piece.iter().copied());
        }
        11 => write_number(input, at, *numbers.pick(&BOUNDS), numbers),
        // a length that is right from here to the end, or off by one
        12 => {
            let width = *numbers.pick(&[1, 2, 3, 4]);
            let rest = length.saturating_sub(at + width) as u64;
            let value = rest.wrapping_add(*numbers.pick(&[0, 0, 1, u64::MAX]));
            overwrite(input, at, &value.to_be_bytes()[8 - width..]);
        }
        13 => change_decimal(input, at, numbers),
        _ => {
            let to = numbers.below(length);
            input.swap(at, to);
        }
    }
}

/// The end of a piece that begins at `start`: mostly a short one.
fn span(start: usize, length: usize, numbers: &mut Numbers) -> usize {
    let most = *numbers.pick(&[1, 4, 16, 64, usize::MAX / 2]);
    start + 1 + numbers.below(most.min(length - start))
}

fn write_number(input: &mut [u8], at: usize, value: u64, numbers: &mut Numbers) {
    let width = *numbers.pick(&[1, 2, 4, 8]);
    match numbers.below(2) {
        0 => overwrite(input, at, &value.to_be_bytes()[8 - width..]),
        _ => overwrite(input, at, &value.to_le_bytes()[..width]),
    }
}

fn overwrite(input: &mut [u8], at: usize, bytes: &[u8]) {
    for (to, from) in input[at..].iter_mut().zip(bytes) {
        *to = *from;
    }
}

/// Another number in place of the decimal digits at or behind a place.
fn change_decimal(input: &mut Vec<u8>, at: usize, numbers: &mut Numbers) {
    let Some(start) = input[at..].iter().position(u8::is_ascii_digit) else {
        return;
    };
    let start = at + start;
    let digits = input[start..]
        .iter()
        .take_while(|b| b.is_ascii_digit())
        .count();
    let text = std::str::from_utf8(&input[start..start + digits]).unwrap_or_default();
    let value: u64 = text.parse().unwrap_or(u64::MAX);
    let value = match numbers.below(4) {
        0 => value.wrapping_add(1),
        1 => value.wrapping_sub(1),
        2 => *numbers.pick(&BOUNDS),
        _ => numbers.next() >> numbers.below(64),
    };
    input.splice(start..start + digits, value.to_string().into_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_changes_alike_and_never_grows_beyond_the_bound() {
        let words: &[&[u8]] = &[b"word", b"\0\0"];
        let run = |seed| {
            let mut numbers = Numbers::new(seed);
            let mut input = b"length 17, and more".to_vec();
            for _ in 0..20_000 {
                mutate(&mut input, b"another 9", words, &mut numbers);
                assert!(input.len() <= LONGEST);
            }
            input
        };
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
    }
}
