use crate::{Error, Result};

/// The tokens of a text: one per byte, or one per distinct character.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vocabulary {
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Bytes,
    /// Sorted, each once: a character's token is its place here.
    Chars(Vec<char>),
}

impl Vocabulary {
    /// A token for each of the 256 bytes: encodes any text.
    pub fn bytes() -> Self {
        Self { kind: Kind::Bytes }
    }

    /// A token for each distinct character of this text, in the order of their code points.
    pub fn chars(text: &str) -> Self {
        let mut chars: Vec<char> = text.chars().collect();
        chars.sort_unstable();
        chars.dedup();
        Self { kind: Kind::Chars(chars) }
    }

    /// The number of tokens.
    pub fn len(&self) -> usize {
        match &self.kind {
            Kind::Bytes => 256,
            Kind::Chars(chars) => chars.len(),
        }
    }

    /// Whether there are no tokens: the vocabulary of an empty text.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The tokens of this text, each from 0 to [`len`](Vocabulary::len) - 1.
    ///
    /// # Errors
    /// [`Error::Argument`] if a character is not in the vocabulary.
    pub fn encode(&self, text: &str) -> Result<Vec<i64>> {
        match &self.kind {
            Kind::Bytes => Ok(text.bytes().map(i64::from).collect()),
            Kind::Chars(chars) => text
                .char_indices()
                .map(|(at, c)| match chars.binary_search(&c) {
                    Ok(token) => Ok(token as i64),
                    Err(_) => {
                        let message =
                            format!("{c:?} at byte {at} is not one of the {} characters known", chars.len());
                        Err(Error::argument("encode", message))
                    }
                })
                .collect(),
        }
    }

    /// The text of these tokens. Bytes that are not UTF-8 become `\u{fffd}`.
    ///
    /// # Errors
    /// [`Error::Argument`] if a token is not in the vocabulary.
    pub fn decode(&self, tokens: &[i64]) -> Result<String> {
        let unknown = |token: i64| {
            Error::argument(
                "decode",
                format!("token {token} is not in a vocabulary of {} tokens", self.len()),
            )
        };
        match &self.kind {
            Kind::Bytes => {
                let bytes = tokens.iter().map(|&token| u8::try_from(token).map_err(|_| unknown(token)));
                Ok(String::from_utf8_lossy(&bytes.collect::<Result<Vec<u8>>>()?).into_owned())
            }
            Kind::Chars(chars) => {
                let char_of = |token: i64| chars.get(usize::try_from(token).ok()?).copied();
                tokens.iter().map(|&token| char_of(token).ok_or_else(|| unknown(token))).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn decoding_undoes_encoding(text: String) {
            for vocabulary in [Vocabulary::bytes(), Vocabulary::chars(&text)] {
                let tokens = vocabulary.encode(&text).unwrap();
                prop_assert!(tokens.iter().all(|&token| (0..vocabulary.len() as i64).contains(&token)));
                prop_assert_eq!(vocabulary.decode(&tokens).unwrap(), text.clone());
            }
        }
    }

    #[test]
    fn unknown_characters_and_tokens_are_named() {
        let vocabulary = Vocabulary::chars("abc");
        assert_eq!(
            vocabulary.encode("ab?").unwrap_err().to_string(),
            "encode: '?' at byte 2 is not one of the 3 characters known"
        );
        for token in [-1, 3, i64::MAX] {
            assert!(vocabulary.decode(&[0, token]).unwrap_err().to_string().contains(&token.to_string()));
        }
        assert!(Vocabulary::bytes().decode(&[256]).is_err());
    }
}
