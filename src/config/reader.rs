//! A table of the file, from which keys are taken one by one.

use super::error::ConfigError;
use super::error::Source;
use super::key;
use super::key::LITERAL_SECRETS;
use super::secret::SecretSource;
use super::value;
use crate::verdict::nearest;
use crate::verdict::unknown;
use std::collections::HashSet;
use std::hash::Hash;
use std::ops::RangeInclusive;
use toml::Spanned;
use toml::de::DeTable;
use toml::de::DeValue;

/// A value, and the offset of the byte where it begins.
#[derive(Clone, Debug)]
pub(super) struct Field<T> {
    pub(super) value: T,
    pub(super) offset: usize,
}

impl<T> Field<T> {
    /// The value alone of what may be absent.
    pub(super) fn value(field: Option<Self>) -> Option<T> {
        field.map(|field| field.value)
    }
}

/// One table. Keys are taken out of it, each once.
pub(super) struct Section<'a> {
    source: &'a Source<'a>,
    /// As messages name it, such as `[sensor]`.
    title: &'static str,
    /// Where it begins: an absent key is told there.
    offset: usize,
    table: DeTable<'a>,
}

impl<'a> Section<'a> {
    /// The whole file.
    ///
    /// # Errors
    /// When it is no TOML.
    pub(super) fn document(source: &'a Source<'a>) -> Result<Self, ConfigError> {
        let document = DeTable::parse(source.text).map_err(|error| source.toml(&error))?;
        Ok(Self {
            source,
            title: "the file",
            offset: 0,
            table: document.into_inner(),
        })
    }

    /// A part of the file, which is as if empty where it is absent.
    pub(super) fn part(
        &mut self,
        key: &'static str,
        title: &'static str,
    ) -> Result<Self, ConfigError> {
        let part = self.table(key, title)?;
        Ok(part.unwrap_or_else(|| Self {
            source: self.source,
            title,
            offset: self.offset,
            table: DeTable::default(),
        }))
    }

    /// A table within this one; `title` is its name for messages.
    pub(super) fn table(
        &mut self,
        key: &'static str,
        title: &'static str,
    ) -> Result<Option<Self>, ConfigError> {
        let Some(value) = self.take(key) else {
            return Ok(None);
        };
        let offset = value.span().start;
        match value.into_inner() {
            DeValue::Table(table) => Ok(Some(Self {
                source: self.source,
                title,
                offset,
                table,
            })),
            DeValue::Array(_) => {
                let problem = format!("there is one {title} only: no list, no double brackets");
                Err(self.source.at(offset, problem))
            }
            other => Err(self.wrong_type(key, "a table", offset, &other)),
        }
    }

    /// The tables of `[[key]]`.
    pub(super) fn tables(
        &mut self,
        key: &'static str,
        title: &'static str,
    ) -> Result<Vec<Self>, ConfigError> {
        let Some(value) = self.take(key) else {
            return Ok(Vec::new());
        };
        let offset = value.span().start;
        let DeValue::Array(array) = value.into_inner() else {
            let problem = format!("each exchange is a table of its own: write {title}");
            return Err(self.source.at(offset, problem));
        };
        let mut tables = Vec::with_capacity(array.len());
        for value in array {
            let offset = value.span().start;
            match value.into_inner() {
                DeValue::Table(table) => tables.push(Self {
                    source: self.source,
                    title,
                    offset,
                    table,
                }),
                other => return Err(self.wrong_type(key, "tables", offset, &other)),
            }
        }
        Ok(tables)
    }

    /// Refuses keys that are not among `known`, and secrets that are written out; the first of
    /// the file is told. `explain` may know more of a key.
    pub(super) fn check_keys(
        &self,
        known: &[&'static str],
        explain: impl Fn(&str) -> Option<String>,
    ) -> Result<(), ConfigError> {
        let first = self
            .table
            .keys()
            .filter(|key| !known.contains(&key.get_ref().as_ref()))
            .min_by_key(|key| key.span().start);
        let Some(key) = first else {
            return Ok(());
        };
        let name: &str = key.get_ref();
        let problem = literal_secret(name, known)
            .or_else(|| explain(name))
            .or_else(|| belongs_elsewhere(name, known))
            .unwrap_or_else(|| unknown("key", name, known));
        Err(self.source.at(key.span().start, problem))
    }

    /// A text, as `read` reads it.
    pub(super) fn text<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<Field<T>>, ConfigError> {
        let Some(value) = self.take(key) else {
            return Ok(None);
        };
        let offset = value.span().start;
        match value.get_ref() {
            DeValue::String(text) => match read(text) {
                Ok(value) => Ok(Some(Field { value, offset })),
                Err(problem) => Err(self.source.at(offset, format!("{key}: {problem}"))),
            },
            other => Err(self.wrong_type(key, "a text in quotes", offset, other)),
        }
    }

    /// One of several words, each with its meaning.
    pub(super) fn word<T: Copy>(
        &mut self,
        key: &'static str,
        words: &[(&str, T)],
    ) -> Result<Option<T>, ConfigError> {
        let read = |text: &str| {
            let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            let found = words.iter().find(|(word, _)| *word == text);
            found
                .map(|(_, meaning)| *meaning)
                .ok_or_else(|| unknown("value", text, &known))
        };
        Ok(Field::value(self.text(key, read)?))
    }

    /// Texts, as `read` reads them; of equal ones, the first.
    pub(super) fn texts<T: Clone + Eq + Hash>(
        &mut self,
        key: &'static str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<Vec<Field<T>>>, ConfigError> {
        let Some(value) = self.take(key) else {
            return Ok(None);
        };
        const EXPECTED: &str = "a list of texts, such as [\"a\", \"b\"]";
        let offset = value.span().start;
        let DeValue::Array(array) = value.get_ref() else {
            return Err(self.wrong_type(key, EXPECTED, offset, value.get_ref()));
        };
        let mut seen = HashSet::with_capacity(array.len());
        let mut texts = Vec::with_capacity(array.len());
        for value in array {
            let offset = value.span().start;
            let DeValue::String(text) = value.get_ref() else {
                return Err(self.wrong_type(key, EXPECTED, offset, value.get_ref()));
            };
            let value = read(text)
                .map_err(|problem| self.source.at(offset, format!("{key}: {problem}")))?;
            if seen.insert(value.clone()) {
                texts.push(Field { value, offset });
            }
        }
        Ok(Some(texts))
    }

    /// `true` or `false`.
    pub(super) fn flag(&mut self, key: &'static str) -> Result<Option<Field<bool>>, ConfigError> {
        let Some(value) = self.take(key) else {
            return Ok(None);
        };
        let offset = value.span().start;
        match value.get_ref() {
            DeValue::Boolean(value) => Ok(Some(Field {
                value: *value,
                offset,
            })),
            other => Err(self.wrong_type(key, "true or false, without quotes", offset, other)),
        }
    }

    /// A whole number within bounds.
    pub(super) fn number<T: TryFrom<i64> + TryInto<i64> + Copy>(
        &mut self,
        key: &'static str,
        bounds: RangeInclusive<T>,
    ) -> Result<Option<Field<T>>, ConfigError> {
        let Some(value) = self.take(key) else {
            return Ok(None);
        };
        let offset = value.span().start;
        let DeValue::Integer(number) = value.get_ref() else {
            return Err(self.wrong_type(key, "a whole number", offset, value.get_ref()));
        };
        let [least, most] = [*bounds.start(), *bounds.end()].map(|n| n.try_into().unwrap_or(0));
        let found = i64::from_str_radix(number.as_str(), number.radix())
            .ok()
            .filter(|number| (least..=most).contains(number))
            .and_then(|number| T::try_from(number).ok());
        match found {
            Some(value) => Ok(Some(Field { value, offset })),
            None => {
                let problem = format!("{key}: a whole number from {least} to {most} is meant");
                Err(self.source.at(offset, problem))
            }
        }
    }

    /// Where a secret is: the one of `keys` (file, environment, credential) that is there.
    pub(super) fn secret(
        &mut self,
        keys: [&'static str; 3],
    ) -> Result<Option<Field<SecretSource>>, ConfigError> {
        let [file, variable, credential] = keys;
        let source = self.source;
        let read = [
            self.text(file, |text| {
                value::path(text).map(|path| SecretSource::File(source.absolute(path)))
            })?,
            self.text(variable, |text| {
                value::variable(text).map(SecretSource::Environment)
            })?,
            self.text(credential, |text| {
                value::credential(text).map(SecretSource::Credential)
            })?,
        ];
        let mut given = keys
            .into_iter()
            .zip(read)
            .filter_map(|(key, field)| Some((key, field?)));
        let Some((first, field)) = given.next() else {
            return Ok(None);
        };
        match given.next() {
            None => Ok(Some(field)),
            Some((second, other)) => {
                let problem =
                    format!("{first} and {second} say where the same secret is: keep one");
                Err(self.source.at(other.offset.max(field.offset), problem))
            }
        }
    }

    /// What is there, or an error that says what is absent and how to write it.
    pub(super) fn require<T>(
        &self,
        field: Option<Field<T>>,
        key: &str,
        example: &str,
    ) -> Result<Field<T>, ConfigError> {
        field.ok_or_else(|| {
            let problem = format!("{} has no {key}: write {key} = \"{example}\"", self.title);
            self.source.at(self.offset, problem)
        })
    }

    /// An error about this table as a whole.
    pub(super) fn wrong(&self, problem: impl Into<String>) -> ConfigError {
        self.source.at(self.offset, problem)
    }

    /// The file that is read.
    pub(super) const fn source(&self) -> &'a Source<'a> {
        self.source
    }

    /// Where the table begins.
    pub(super) const fn offset(&self) -> usize {
        self.offset
    }

    fn take(&mut self, key: &str) -> Option<Spanned<DeValue<'a>>> {
        self.table.remove(key)
    }

    fn wrong_type(
        &self,
        key: &str,
        expected: &str,
        offset: usize,
        found: &DeValue<'_>,
    ) -> ConfigError {
        let found = match found {
            DeValue::String(_) => "a text",
            DeValue::Integer(_) => "a whole number",
            DeValue::Float(_) => "a number with a point",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        let problem = format!("`{key}` takes {expected}, not {found}");
        self.source.at(offset, problem)
    }
}

/// Says where a key belongs, unless it is likelier a slip of one that belongs here.
fn belongs_elsewhere(name: &str, known: &[&'static str]) -> Option<String> {
    match nearest(name, known.iter().copied()) {
        Some(_) => None,
        None => key::part_of(name).map(|part| format!("`{name}` belongs to {part}")),
    }
}

/// What to write instead of a secret under this name, if it is one and there is such a key.
fn literal_secret(name: &str, known: &[&'static str]) -> Option<String> {
    let lower = name.to_ascii_lowercase().replace('-', "_");
    if !LITERAL_SECRETS.contains(&lower.as_str()) {
        return None;
    }
    let stem = if known.contains(&"pseudonym_key_file") {
        "pseudonym_key"
    } else if lower.starts_with("pass") && known.contains(&"password_file") {
        "password"
    } else if known.contains(&"token_file") {
        "token"
    } else {
        return None;
    };
    Some(format!(
        "no secret is written into this file: put it into a file of its own (chmod 600) and write \
         {stem}_file = \"PATH\"; or {stem}_env = \"VARIABLE\"; or {stem}_credential = \"NAME\" of \
         systemd"
    ))
}
