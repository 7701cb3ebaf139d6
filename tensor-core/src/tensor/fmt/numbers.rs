//! Floating-point numbers into words of one width.
//!
//! A number is written with the fewest digits that tell it from its neighbours in its dtype, rounded to the
//! precision if those are more. All are written in scientific notation if any would otherwise be unreadable.

use half::{bf16, f16};

use crate::DType;

pub(super) struct Numbers {
    pub(super) dtype: DType,
    pub(super) precision: usize,
}

impl Numbers {
    /// One number by itself.
    pub(super) fn alone(&self, x: f64) -> String {
        if !x.is_finite() {
            return special(x);
        }
        if x == 0.0 || (1e-4..1e16).contains(&x.abs()) {
            let mut text = self.positional(x, self.precision);
            if text.ends_with('.') {
                text.push('0');
            }
            text
        } else {
            let (mantissa, exponent) = self.scientific(x, self.precision);
            format!("{}{}", mantissa.trim_end_matches('.'), signed(exponent, 2))
        }
    }

    /// All numbers with their points below each other.
    pub(super) fn aligned(&self, values: &[f64]) -> Vec<String> {
        let finite = || values.iter().copied().filter(|x| x.is_finite());
        let words =
            if self.needs_exponent(finite()) { self.with_exponents(values) } else { self.plain(values) };
        // A number that is not finite ends where the others do.
        let width = words.iter().map(String::len).max().unwrap_or(0);
        words.into_iter().map(|word| format!("{word:>width$}")).collect()
    }

    fn needs_exponent(&self, finite: impl Iterator<Item = f64>) -> bool {
        let (mut low, mut high) = (f64::INFINITY, 0.0f64);
        for x in finite.map(f64::abs).filter(|&x| x != 0.0) {
            (low, high) = (low.min(x), high.max(x));
        }
        // Below it, every digit before the point is known: the dtype has so many, and eight are enough.
        let bound = match self.dtype {
            DType::F16 | DType::BF16 => 1e3,
            DType::F32 => 1e6,
            _ => 1e8,
        };
        // The other bounds are numbers of the dtype, and so is the ratio.
        high > 0.0
            && (high >= bound
                || low < self.rounded(0.0001)
                || self.rounded(high / low) > self.rounded(1000.0))
    }

    fn rounded(&self, x: f64) -> f64 {
        match self.dtype {
            DType::F16 => f16::from_f64(x).to_f64(),
            DType::BF16 => bf16::from_f64(x).to_f64(),
            DType::F32 => f64::from(x as f32),
            _ => x,
        }
    }

    fn plain(&self, values: &[f64]) -> Vec<String> {
        let words: Vec<String> = values
            .iter()
            .map(|&x| if x.is_finite() { self.positional(x, self.precision) } else { special(x) })
            .collect();
        let fraction = |word: &str| word.find('.').map_or(0, |point| word.len() - point - 1);
        let longest = words.iter().map(|word| fraction(word)).max().unwrap_or(0);
        let pad = |word: String| match word.contains('.') {
            true => format!("{word}{}", " ".repeat(longest - fraction(&word))),
            false => word,
        };
        words.into_iter().map(pad).collect()
    }

    fn with_exponents(&self, values: &[f64]) -> Vec<String> {
        let finite = || values.iter().filter(|x| x.is_finite()).map(|&x| self.scientific(x, self.precision));
        let fraction = |mantissa: &str| mantissa.len() - mantissa.find('.').map_or(0, |point| point + 1);
        let digits = finite().map(|(mantissa, _)| fraction(&mantissa)).max().unwrap_or(0);
        let size = finite().map(|(_, e)| e.unsigned_abs().to_string().len()).max().unwrap_or(0);
        let word = |&x: &f64| {
            if !x.is_finite() {
                return special(x);
            }
            // As many digits for each as the longest needs; more than tell a number apart are exact.
            let (mut mantissa, exponent) = split(&format!("{:.digits$e}", x.abs()));
            if digits == 0 {
                mantissa.push('.');
            }
            minus(x, mantissa) + &signed(exponent, size.max(2))
        };
        values.iter().map(word).collect()
    }

    /// `-12.5`, `3.`: a point always, at most `precision` digits after it, no zeros at the end.
    fn positional(&self, x: f64, precision: usize) -> String {
        let (digits, exponent) = self.shortest(x);
        let needed = (digits.len() as i64 - 1 - i64::from(exponent)).max(0) as usize;
        let text = if needed > precision {
            format!("{:.precision$}", x.abs())
        } else if exponent < 0 {
            format!("0.{}{digits}", "0".repeat(exponent.unsigned_abs() as usize - 1))
        } else {
            let whole = exponent as usize + 1;
            let zeros = "0".repeat(whole.saturating_sub(digits.len()));
            let (whole, fraction) = digits.split_at(whole.min(digits.len()));
            format!("{whole}{zeros}.{fraction}")
        };
        minus(x, trimmed(text))
    }

    /// `-1.25` and the power of ten, in the form of [`Numbers::positional`].
    fn scientific(&self, x: f64, precision: usize) -> (String, i32) {
        let (digits, exponent) = self.shortest(x);
        let (mantissa, exponent) = if digits.len() - 1 > precision {
            split(&format!("{:.precision$e}", x.abs()))
        } else {
            let (whole, fraction) = digits.split_at(1);
            (format!("{whole}.{fraction}"), exponent)
        };
        (minus(x, trimmed(mantissa)), exponent)
    }

    /// The fewest digits that name the number among those of its dtype, and the power of ten of the first.
    fn shortest(&self, x: f64) -> (String, i32) {
        let x = x.abs();
        let known = match self.dtype {
            DType::F32 => Some(format!("{:e}", x as f32)),
            DType::F16 | DType::BF16 => (0..=8).find_map(|digits| self.named_by(x, digits)),
            _ => None,
        };
        let text = known.unwrap_or_else(|| format!("{x:e}"));
        let digits = split(&text).0.len().saturating_sub(2);
        // Of two numbers equally near, the even one.
        let (mantissa, exponent) = split(&self.named_by(x, digits).unwrap_or(text));
        (mantissa.replace('.', ""), exponent)
    }

    /// A number of `1 + digits` digits that rounds to `x`, if there is one. Below a power of two numbers lie
    /// closer than above it, so the nearest of that length may belong to a neighbour and the next to `x`.
    fn named_by(&self, x: f64, digits: usize) -> Option<String> {
        let (mantissa, exponent) = split(&format!("{x:.digits$e}"));
        let nearest: u64 = mantissa.replace('.', "").parse().ok()?;
        let text = |mantissa: u64| format!("{mantissa}e{}", exponent - digits as i32);
        let is_x = |text: &str| text.parse().is_ok_and(|y: f64| self.rounded(y) == x);
        let found = [nearest, nearest + 1].into_iter().find(|&m| is_x(&text(m)))?;
        Some(format!("{:.digits$e}", text(found).parse::<f64>().ok()?))
    }
}

/// Mantissa and exponent of Rust's scientific notation.
fn split(text: &str) -> (String, i32) {
    let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
    (mantissa.to_owned(), exponent.parse().unwrap_or(0))
}

/// A point, and no zeros at the end.
fn trimmed(mut text: String) -> String {
    if !text.contains('.') {
        text.push('.');
    }
    text.truncate(text.trim_end_matches('0').len());
    text
}

fn minus(x: f64, text: String) -> String {
    if x.is_sign_negative() { format!("-{text}") } else { text }
}

fn signed(exponent: i32, digits: usize) -> String {
    format!("e{}{:0digits$}", if exponent < 0 { '-' } else { '+' }, exponent.unsigned_abs())
}

fn special(x: f64) -> String {
    let name = if x.is_nan() {
        "nan"
    } else if x > 0.0 {
        "inf"
    } else {
        "-inf"
    };
    name.to_owned()
}
