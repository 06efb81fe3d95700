//! Frames built byte by byte, and what they must be decoded to.
