use std::sync::Arc;

use crate::{Dataset, Error, Result, Sample};

/// Windows of a long row of tokens; the target of each is the window one token further on.
///
/// Windows follow one another without overlap, unless [`stride`](TextWindows::stride) says otherwise;
/// tokens at the end that do not fill a window are left out.
#[derive(Clone, Debug)]
pub struct TextWindows {
    tokens: Arc<[i64]>,
    window: usize,
    stride: usize,
}

impl TextWindows {
    /// Windows of `window` tokens.
    ///
    /// # Errors
    /// [`Error::Argument`] if the window is empty, or if there are not at least `window + 1` tokens.
    pub fn new(tokens: impl Into<Arc<[i64]>>, window: usize) -> Result<Self> {
        let tokens = tokens.into();
        if window == 0 || tokens.len() <= window {
            let message = format!(
                "{} tokens do not make one window of {window} and its target; expected at least one more token than \
                 the window has, and a window of at least 1",
                tokens.len()
            );
            return Err(Error::argument("text windows", message));
        }
        Ok(Self { tokens, window, stride: window })
    }

    /// Starts a window every `stride` tokens.
    ///
    /// # Errors
    /// [`Error::Argument`] if the stride is 0.
    pub fn stride(mut self, stride: usize) -> Result<Self> {
        if stride == 0 {
            return Err(Error::argument("text windows", "stride is 0, expected at least 1"));
        }
        self.stride = stride;
        Ok(self)
    }
}

impl Dataset for TextWindows {
    type Item = Sample<Vec<i64>, Vec<i64>>;

    fn len(&self) -> usize {
        (self.tokens.len() - 1 - self.window) / self.stride + 1
    }

    fn get(&self, index: usize) -> Result<Self::Item> {
        if index >= self.len() {
            return Err(Error::Index { index, len: self.len() });
        }
        let start = index * self.stride;
        let window = |start: usize| self.tokens[start..start + self.window].to_vec();
        Ok(Sample { input: window(start), target: window(start + 1) })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn windows_fill_the_text_and_targets_are_one_ahead(
            count in 2_usize..200, window in 1_usize..50, stride in 1_usize..60,
        ) {
            prop_assume!(window < count);
            let tokens: Vec<i64> = (0..count as i64).collect();
            let windows = TextWindows::new(tokens, window).unwrap().stride(stride).unwrap();
            for index in 0..windows.len() {
                let Sample { input, target } = windows.get(index).unwrap();
                let start = (index * stride) as i64;
                prop_assert!(input.into_iter().eq(start..start + window as i64));
                prop_assert!(target.into_iter().eq(start + 1..start + 1 + window as i64));
            }
            prop_assert!(windows.len() * stride + window + 1 > count, "one more would have fitted");
            prop_assert!(windows.get(windows.len()).is_err());
        }
    }

    #[test]
    fn a_text_too_short_for_a_target_is_refused() {
        assert!(TextWindows::new(vec![1, 2, 3], 3).is_err());
        assert!(TextWindows::new(vec![1, 2, 3], 0).is_err());
        assert!(TextWindows::new(Vec::new(), 0).is_err());
        assert!(TextWindows::new(vec![1, 2, 3], 2).unwrap().stride(0).is_err());
        assert_eq!(TextWindows::new(vec![1, 2, 3], 2).unwrap().len(), 1);
    }
}
