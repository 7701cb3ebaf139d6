//! Words into nested brackets.

/// The widest line.
const WIDTH: usize = 75;

/// Lays out `words`, the elements along `shown` positions of each axis of a tensor of `dims`. An axis of which
/// not every position is shown has its second half after an ellipsis.
pub(super) fn nest(dims: &[usize], shown: &[usize], words: &[String]) -> String {
    Nest { dims, shown, words }.axis(0, 0, 1, WIDTH)
}

struct Nest<'a> {
    dims: &'a [usize],
    shown: &'a [usize],
    words: &'a [String],
}

impl Nest<'_> {
    /// The text of everything below one position: `block` counts those before it at this depth, `indent` is
    /// what its further lines start with, `width` what its lines may fill.
    fn axis(&self, axis: usize, block: usize, indent: usize, width: usize) -> String {
        let Some(&n) = self.shown.get(axis) else { return self.words[block].clone() };
        let below = self.dims.len() - axis - 1;
        let indent_text = " ".repeat(indent);
        let (mut text, mut line) = (String::new(), String::new());
        for i in 0..n {
            let ellipsis = i == n / 2 && n < self.dims[axis];
            let last = i + 1 == n;
            let word = self.axis(axis + 1, block * n + i, indent + 1, width.saturating_sub(1));
            for (word, last) in ellipsis.then_some(("...", false)).into_iter().chain([(&*word, last)]) {
                if below > 0 {
                    text.push_str(&indent_text);
                    text.push_str(word);
                    if !last {
                        text.push_str(&"\n".repeat(below));
                    }
                    continue;
                }
                // One column is left to the bracket.
                if !line.is_empty() && indent + line.len() + word.len() >= width {
                    text.push_str(&indent_text);
                    text.push_str(line.trim_end());
                    text.push('\n');
                    line.clear();
                }
                line.push_str(word);
                if !last {
                    line.push(' ');
                }
            }
        }
        if below == 0 {
            text.push_str(&indent_text);
            text.push_str(&line);
        }
        format!("[{}]", &text[indent..])
    }
}
