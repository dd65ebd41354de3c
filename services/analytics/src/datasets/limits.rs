//! What an import may use at most. Memory is bounded by these numbers, not by the file.

/// Bounds of one import; all in bytes unless the name says otherwise.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Longest line: a row of the widest real file (157 columns) has 4 KiB.
    pub line: usize,
    /// Most cells in a row: the widest real file has 404.
    pub cells: usize,
    /// Largest file, unpacked.
    pub unpacked: u64,
    /// How much larger than packed it may be: real tables reach 40, a file made of zeros 1,000 and more.
    pub ratio: u64,
    /// Below this, unpacked, the ratio is not looked at: a small file of one repeated row is no attack.
    pub ratio_from: u64,
    /// Rows in a batch.
    pub batch_rows: usize,
    /// Text in a batch: it is handed on when it has as much, though it has fewer rows.
    pub batch: usize,
    /// Most keys that are kept to find duplicates, 32 bytes each.
    pub keys: usize,
    /// Line numbers kept for each reason and each repair.
    pub examples: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            line: 1 << 20,
            cells: 2_000,
            unpacked: 64 << 30,
            ratio: 200,
            ratio_from: 16 << 20,
            batch_rows: 8_192,
            batch: 16 << 20,
            keys: 4_000_000,
            examples: 20,
        }
    }
}
