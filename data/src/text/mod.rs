//! Text as a data set: characters or bytes to tokens, and windows of tokens to predict the next from.
//!
//! ```
//! use gradus_data::{Dataset, text::{TextWindows, Vocabulary}};
//!
//! let text = "to be, or not to be";
//! let vocabulary = Vocabulary::chars(text);
//! let windows = TextWindows::new(vocabulary.encode(text)?, 6)?;
//! let sample = windows.get(0)?;
//! assert_eq!(vocabulary.decode(&sample.input)?, "to be,");
//! assert_eq!(vocabulary.decode(&sample.target)?, "o be, ");
//! # Ok::<(), gradus_data::Error>(())
//! ```

mod vocabulary;
mod windows;

pub use vocabulary::Vocabulary;
pub use windows::TextWindows;

/// Half a megabyte of English: Hamlet, Macbeth, Romeo and Juliet, A Midsummer Night's Dream.
///
/// Plain ASCII, 515,379 bytes; in the public domain. See `assets/README.md` for where it is from.
///
/// # Errors
/// None in practice: the text is part of the program, and a test reads it.
#[cfg(feature = "embedded-text")]
pub fn shakespeare() -> crate::Result<String> {
    use std::io::Read;

    let mut text = String::new();
    flate2::read::GzDecoder::new(&include_bytes!("../../assets/shakespeare.txt.gz")[..])
        .read_to_string(&mut text)
        .map_err(|source| crate::Error::io("(embedded) shakespeare.txt.gz", source))?;
    Ok(text)
}

#[cfg(all(test, feature = "embedded-text"))]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_text_is_whole_and_plain() {
        let text = shakespeare().unwrap();
        assert_eq!(text.len(), 515_379);
        assert!(text.is_ascii() && text.starts_with("HAMLET, PRINCE OF DENMARK") && !text.contains('\r'));
        for line in [
            "To be, or not to be,--that is the question",
            "Out, out, brief candle!",
            "wherefore art thou Romeo?",
        ] {
            assert!(text.contains(line), "{line}");
        }
        assert_eq!(
            Vocabulary::chars(&text).len(),
            text.bytes().collect::<std::collections::HashSet<_>>().len()
        );
    }
}
