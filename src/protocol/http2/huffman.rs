//! The Huffman code of HPACK (RFC 7541 section 5.2 and appendix B).
//!
//! The code is canonical: its lengths alone define it. From them a table is made, while
//! compiling, that takes four bits at a time.

/// Appends to `out` what `bytes` decode to; `false` when they are no lawful encoding.
pub(super) fn decode(bytes: &[u8], out: &mut Vec<u8>) -> bool {
    let mut node = ROOT;
    for byte in bytes {
        for nibble in [byte >> 4, byte & 0x0f] {
            let step = STEPS[usize::from(node)][usize::from(nibble)];
            match step.outcome {
                Outcome::Inside => {}
                Outcome::Symbol(symbol) => out.push(symbol),
                Outcome::EndOfString => return false,
            }
            node = step.next;
        }
    }
    ENDS[usize::from(node)]
}

/// Where four bits lead.
#[derive(Clone, Copy)]
struct Step {
    next: u8,
    outcome: Outcome,
}

/// What four bits complete; at most one code, since the shortest has five.
#[derive(Clone, Copy)]
enum Outcome {
    /// Nothing.
    Inside,
    /// The code of this byte.
    Symbol(u8),
    /// The end-of-string code, which must not be sent.
    EndOfString,
}

/// The tree of all codes.
struct Tree {
    /// Where a bit leads from an inner node: to another one, or to a leaf.
    children: [[Child; 2]; NODES],
}

#[derive(Clone, Copy)]
enum Child {
    /// Not there yet, while the tree is made.
    None,
    Node(u8),
    Leaf(u16),
}

impl Tree {
    const fn new() -> Self {
        let mut tree = Self {
            children: [[Child::None; 2]; NODES],
        };
        let mut nodes = 1;
        let mut code = 0_u32;
        let mut length = 1;
        while length <= LONGEST {
            let mut symbol = 0;
            while symbol < LENGTHS.len() {
                if LENGTHS[symbol] == length {
                    nodes = tree.insert(code, length, symbol as u16, nodes);
                    code += 1;
                }
                symbol += 1;
            }
            code <<= 1;
            length += 1;
        }
        tree
    }

    /// Adds a code to a tree of `nodes` nodes; how many it has then.
    const fn insert(&mut self, code: u32, length: u8, symbol: u16, mut nodes: usize) -> usize {
        let mut node = ROOT as usize;
        let mut left = length;
        while left > 1 {
            left -= 1;
            let bit = (code >> left & 1) as usize;
            node = match self.children[node][bit] {
                Child::Node(next) => next as usize,
                _ => {
                    self.children[node][bit] = Child::Node(nodes as u8);
                    nodes += 1;
                    nodes - 1
                }
            };
        }
        self.children[node][(code & 1) as usize] = Child::Leaf(symbol);
        nodes
    }

    const fn steps(&self) -> [[Step; 16]; NODES] {
        let mut steps = [[Step {
            next: ROOT,
            outcome: Outcome::EndOfString,
        }; 16]; NODES];
        let mut node = 0;
        while node < NODES {
            let mut nibble = 0;
            while nibble < 16 {
                steps[node][nibble] = self.step(node, nibble);
                nibble += 1;
            }
            node += 1;
        }
        steps
    }

    const fn step(&self, node: usize, nibble: usize) -> Step {
        let mut step = Step {
            next: node as u8,
            outcome: Outcome::Inside,
        };
        let mut left = 4;
        while left > 0 {
            left -= 1;
            match self.children[step.next as usize][nibble >> left & 1] {
                Child::Node(next) => step.next = next,
                Child::Leaf(symbol) if symbol < 256 => {
                    step = Step {
                        next: ROOT,
                        outcome: Outcome::Symbol(symbol as u8),
                    };
                }
                Child::Leaf(_) | Child::None => {
                    return Step {
                        next: ROOT,
                        outcome: Outcome::EndOfString,
                    };
                }
            }
        }
        step
    }

    /// The nodes where a string may end: after whole codes and up to seven bits of padding,
    /// which are the most significant ones of the end-of-string code, all set.
    const fn ends(&self) -> [bool; NODES] {
        let mut ends = [false; NODES];
        let mut node = ROOT;
        let mut depth = 0;
        while depth <= 7 {
            ends[node as usize] = true;
            if let Child::Node(next) = self.children[node as usize][1] {
                node = next;
            }
            depth += 1;
        }
        ends
    }
}

const ROOT: u8 = 0;

/// Inner nodes: one fewer than leaves.
const NODES: usize = LENGTHS.len() - 1;

/// The longest code, in bits.
const LONGEST: u8 = 30;

static STEPS: [[Step; 16]; NODES] = Tree::new().steps();
static ENDS: [bool; NODES] = Tree::new().ends();

/// Length in bits of the code of each byte, and of the end of the string (RFC 7541 appendix B).
#[rustfmt::skip]
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    30,
];

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The code of a byte: its bits and their number.
    fn code_of(byte: u8) -> (u32, u8) {
        let mut code = 0;
        for length in 1..=LONGEST {
            for (symbol, _) in LENGTHS.iter().enumerate().filter(|(_, of)| **of == length) {
                if symbol == usize::from(byte) {
                    return (code, length);
                }
                code += 1;
            }
            code <<= 1;
        }
        unreachable!("every byte has a code")
    }

    pub(in crate::protocol::http2) fn encode(text: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let (mut bits, mut count) = (0_u64, 0);
        for byte in text {
            let (code, length) = code_of(*byte);
            bits = bits << length | u64::from(code);
            count += length;
            while count >= 8 {
                count -= 8;
                out.push((bits >> count) as u8);
            }
        }
        if count > 0 {
            out.push((bits << (8 - count)) as u8 | 0xff >> count);
        }
        out
    }

    #[test]
    fn codes_are_those_of_the_specification() {
        for (byte, code, length) in [
            (b'0', 0x0, 5),
            (b' ', 0x14, 6),
            (b':', 0x5c, 7),
            (b'&', 0xf8, 8),
            (b'!', 0x3f8, 10),
            (0, 0x1ff8, 13),
            (b'\\', 0x7_fff0, 19),
            (1, 0x7f_ffd8, 23),
            (2, 0xfff_ffe2, 28),
            (10, 0x3fff_fffc, 30),
            (22, 0x3fff_fffe, 30),
            (255, 0x3ff_ffee, 26),
        ] {
            assert_eq!(code_of(byte), (code, length), "{byte}");
        }
    }

    #[test]
    fn what_was_encoded_decodes() {
        let all: Vec<u8> = (0..=255).collect();
        for text in [
            &all[..],
            b"",
            b"a",
            b"www.example.com",
            b"no-cache",
            b"00000000",
        ] {
            let mut out = b"before".to_vec();
            assert!(decode(&encode(text), &mut out));
            assert_eq!(&out[6..], text);
        }
    }

    #[test]
    fn padding_is_short_and_set() {
        for (bytes, lawful) in [
            // '0' is five bits, then three of padding
            (&[0b0000_0111][..], true),
            (&[0b0000_0011], false),
            (&[0b0000_0110], false),
            // eight bits of padding
            (&[0b0000_0111, 0xff], false),
            (&[0xff], false),
            // the end of the string, spelled out
            (&[0xff, 0xff, 0xff, 0xff], false),
            (&[0xff, 0xff, 0xff, 0xfc, 0], false),
        ] {
            assert_eq!(decode(bytes, &mut Vec::new()), lawful, "{bytes:x?}");
        }
    }
}
