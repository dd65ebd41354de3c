//! Reading and writing the compact integers that blocks and records are made of.

/// Bytes that are not what they should be: where, and what was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("malformed at byte {at}: {what}")]
pub struct Malformed {
    /// Offset of the first byte that makes no sense.
    pub at: usize,
    /// Description of what was expected at this place.
    pub what: &'static str,
}

pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value as u8) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(crate) fn put_signed(out: &mut Vec<u8>, value: i64) {
    put_varint(out, ((value << 1) ^ (value >> 63)) as u64);
}

pub(crate) fn put_text(out: &mut Vec<u8>, text: &str) {
    put_varint(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// Writes integers, divided by the largest power of ten in `exponents` that divides them all.
pub(crate) fn put_ints(out: &mut Vec<u8>, items: impl Iterator<Item = i64> + Clone, exponents: &[u32]) {
    let exponent = exponents.iter().copied().find(|&e| {
        let power = 10i64.pow(e);
        e == 0 || items.clone().all(|v| v % power == 0)
    });
    let exponent = exponent.unwrap_or(0);
    let power = 10i64.pow(exponent);
    let mut scaled = items.map(|v| if exponent == 0 { v } else { v / power });
    let probe = scaled.clone();
    let Some(first) = scaled.next() else {
        out.extend_from_slice(&[0, 0, 0, 0]);
        return;
    };
    let step = scaled.clone().next().map_or(0, |second| second.wrapping_sub(first));
    let mut expected = first;
    let regular = probe.clone().all(|v| {
        let same = v == expected;
        expected = expected.wrapping_add(step);
        same
    });
    out.push(u8::from(!regular));
    put_varint(out, u64::from(exponent));
    put_signed(out, first);
    if regular {
        put_signed(out, step);
        return;
    }
    let mut last = first;
    for v in scaled {
        put_signed(out, v.wrapping_sub(last));
        last = v;
    }
}

/// Reads `n` integers, handing each to `each`.
#[inline]
pub(crate) fn read_ints(input: &mut Reader<'_>, n: usize, mut each: impl FnMut(i64)) -> Result<(), Malformed> {
    let mode = input.byte()?;
    let exponent = input.varint()?;
    if mode > 1 || exponent > 9 {
        return Err(input.malformed("integer mode 0 or 1, exponent 0 to 9"));
    }
    let power = 10i64.pow(exponent as u32);
    let mut value = input.signed()?;
    if mode == 0 {
        let step = input.signed()?;
        for _ in 0..n {
            each(value.wrapping_mul(power));
            value = value.wrapping_add(step);
        }
        return Ok(());
    }
    for i in 0..n {
        if i > 0 {
            value = value.wrapping_add(input.signed()?);
        }
        each(value.wrapping_mul(power));
    }
    Ok(())
}

/// A cursor over bytes from outside: every read is checked, nothing is allocated on a mere claim of size.
#[derive(Clone)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(crate) fn malformed(&self, what: &'static str) -> Malformed {
        Malformed { at: self.at, what }
    }

    pub(crate) fn at(&self) -> usize {
        self.at
    }

    pub(crate) fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    pub(crate) fn take(&mut self, n: usize) -> Result<&'a [u8], Malformed> {
        if n > self.remaining() {
            return Err(self.malformed("more bytes"));
        }
        let taken = &self.bytes[self.at..self.at + n];
        self.at += n;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    pub(crate) fn byte(&mut self) -> Result<u8, Malformed> {
        Ok(self.array::<1>()?[0])
    }

    pub(crate) fn float(&mut self) -> Result<f64, Malformed> {
        Ok(f64::from_le_bytes(self.array()?))
    }

    #[inline]
    pub(crate) fn varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let Some(&byte) = self.bytes.get(self.at) else {
                return Err(self.malformed("a whole varint"));
            };
            self.at += 1;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(self.malformed("a varint of 64 bits"));
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(self.malformed("a varint of at most ten bytes"))
    }

    #[inline]
    pub(crate) fn signed(&mut self) -> Result<i64, Malformed> {
        let raw = self.varint()?;
        Ok((raw >> 1) as i64 ^ -((raw & 1) as i64))
    }

    /// A count of items of at least `min_bytes` each that still lie ahead.
    pub(crate) fn count(&mut self, min_bytes: usize) -> Result<usize, Malformed> {
        let n = self.varint()?;
        match usize::try_from(n) {
            Ok(n) if n.saturating_mul(min_bytes) <= self.remaining() => Ok(n),
            _ => Err(self.malformed("a count that the bytes can hold")),
        }
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, Malformed> {
        let n = self.count(1)?;
        let bytes = self.take(n)?;
        std::str::from_utf8(bytes).map_err(|_| self.malformed("UTF-8 text"))
    }

    pub(crate) fn end(&self) -> Result<(), Malformed> {
        if self.remaining() == 0 { Ok(()) } else { Err(self.malformed("the end")) }
    }
}
