//! Tables in CSV (RFC 4180): a header names the columns, one of which holds the values.

use super::error::LoadError;
use super::lines::LineReader;
use super::lines::Output;
use super::lines::place;
use super::value::Value;
use std::borrow::Cow;

/// Bytes of one row over all its lines: a quote that nobody closes must not gather the whole file.
const LONGEST_ROW: usize = 64 << 10;

/// What parts columns.
const DELIMITERS: [char; 4] = [',', ';', '\t', '|'];

/// Names of columns that hold values, the most telling first: a row is one
/// indicator, and what stands beside its URL or hash only describes it.
const COLUMNS: [&str; 32] = [
    "indicator",
    "indicator_value",
    "ioc",
    "ioc_value",
    "observable",
    "value",
    "url",
    "urls",
    "sha256",
    "sha256_hash",
    "sha-256",
    "sha1",
    "sha1_hash",
    "sha-1",
    "md5",
    "md5_hash",
    "hash",
    "file_hash",
    "domain",
    "domain_name",
    "fqdn",
    "hostname",
    "host",
    "ip",
    "ip_address",
    "ip address",
    "ipaddress",
    "dst_ip",
    "dstip",
    "src_ip",
    "address",
    "email",
];

/// The column by which MISP says whether a value is to be looked for.
const TO_IDS: &str = "to_ids";

/// What the header of a table says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    delimiter: char,
    /// Of the values, counted from 0.
    column: usize,
    /// Of [`TO_IDS`]; `None`: there is none.
    to_ids: Option<usize>,
    columns: usize,
    /// Whether the header stands behind a `#`.
    comment: bool,
}

impl Header {
    /// The header among the first lines of a text; `None`: it is no table.
    pub(super) fn find<'a>(lines: impl Iterator<Item = &'a str>) -> Option<Self> {
        let mut behind_mark: Option<Self> = None;
        for line in lines.filter(|line| !line.trim().is_empty()) {
            if let Some(comment) = line.strip_prefix('#') {
                let comment = Self::read(comment.trim()).filter(|header| header.columns > 1);
                behind_mark = comment.or(behind_mark);
                continue;
            }
            // the last comment may be the header of the row that follows it
            let fits = |header: &Self| split(line, header.delimiter).len() == header.columns;
            return Self::read(line).or_else(|| {
                let header = behind_mark.filter(fits)?;
                Some(Self {
                    comment: true,
                    ..header
                })
            });
        }
        None
    }

    fn read(line: &str) -> Option<Self> {
        DELIMITERS
            .iter()
            .filter_map(|delimiter| {
                let names: Vec<String> = split(line, *delimiter)
                    .iter()
                    .map(|name| name.trim().to_ascii_lowercase())
                    .collect();
                let at = |wanted: &str| names.iter().position(|name| name == wanted);
                // a row names values, not columns
                if names.iter().any(|name| Value::parse(name).is_ok()) {
                    return None;
                }
                Some(Self {
                    delimiter: *delimiter,
                    column: COLUMNS.iter().find_map(|name| at(name))?,
                    to_ids: at(TO_IDS),
                    columns: names.len(),
                    comment: false,
                })
            })
            .max_by_key(|header| header.columns)
    }
}

/// How far a table is read.
#[derive(Debug)]
pub(super) struct Table {
    header: Header,
    /// Whether the header is still to come.
    header_due: bool,
    /// Lines of a row with a quote that is still open.
    pending: String,
    /// The line that the pending row began in.
    began: u64,
}

impl Table {
    /// A table with this header, of which nothing is read yet.
    pub(super) const fn new(header: Header) -> Self {
        Self {
            header,
            header_due: !header.comment,
            pending: String::new(),
            began: 0,
        }
    }

    fn row(&mut self, number: u64, row: &str, output: &mut Output<'_>) {
        if self.header_due {
            self.header_due = false;
            return;
        }
        let fields = split(row, self.header.delimiter);
        let field = |at: usize| fields.get(at).map(|field| field.trim());
        if self.header.to_ids.and_then(field).is_some_and(is_no) {
            return;
        }
        let Some(text) = field(self.header.column) else {
            let (columns, there) = (self.header.columns, fields.len());
            let reason = format!("the row has {there} columns, the header {columns}");
            return output.refuse(number, reason);
        };
        if text.is_empty() {
            return;
        }
        match Value::parse(text) {
            Ok((value, host_bits)) => output.value(number, &value, host_bits, None),
            Err(no_value) => output.refuse(number, no_value.reason),
        }
    }

    fn refuse_pending(&mut self, output: &mut Output<'_>) {
        self.pending.clear();
        let reason = format!(
            "a quote is not closed within {LONGEST_ROW} bytes or by the end of the file: the row \
             and the lines up to there were not read"
        );
        output.tally.refuse("", place(self.began), reason);
    }
}

impl LineReader for Table {
    fn line(&mut self, number: u64, line: &str, output: &mut Output<'_>) {
        if self.pending.is_empty() {
            if line.starts_with('#') {
                return;
            }
            if is_closed(line) {
                return self.row(number, line, output);
            }
            self.began = number;
        } else {
            self.pending.push('\n');
        }
        self.pending.push_str(line);
        if self.pending.len() > LONGEST_ROW {
            self.refuse_pending(output);
        } else if !is_closed(line) && self.began != number {
            // this line's quote closes what an earlier one opened
            let row = std::mem::take(&mut self.pending);
            self.row(self.began, &row, output);
        }
    }

    fn finish(&mut self, _: &str, output: &mut Output<'_>) -> Result<(), LoadError> {
        if !self.pending.is_empty() {
            self.refuse_pending(output);
        }
        Ok(())
    }
}

/// Whether as many quotes close as open: a doubled one within quotes does both.
fn is_closed(line: &str) -> bool {
    memchr::memchr_iter(b'"', line.as_bytes())
        .count()
        .is_multiple_of(2)
}

fn is_no(flag: &str) -> bool {
    flag == "0" || flag.eq_ignore_ascii_case("false")
}

/// The fields of a row (RFC 4180 section 2); a quote within an unquoted field is part of it.
fn split(row: &str, delimiter: char) -> Vec<Cow<'_, str>> {
    let mut fields = Vec::new();
    let mut rest = row;
    loop {
        let begin = rest.trim_start_matches(' ');
        let end = match begin.strip_prefix('"') {
            Some(quoted) => {
                let (field, behind) = unquote(quoted);
                fields.push(field);
                // what stands between a closing quote and the delimiter belongs nowhere
                behind.find(delimiter).map(|at| behind.get(at..))
            }
            None => {
                let end = rest.find(delimiter);
                let field = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
                fields.push(Cow::Borrowed(field));
                end.map(|at| rest.get(at..))
            }
        };
        let Some(Some(behind)) = end else {
            return fields;
        };
        rest = behind.get(delimiter.len_utf8()..).unwrap_or_default();
    }
}

/// A field up to the quote that closes it, and what stands behind that.
fn unquote(text: &str) -> (Cow<'_, str>, &str) {
    let mut field = Cow::Borrowed("");
    let mut rest = text;
    loop {
        let end = rest.find('"').unwrap_or(rest.len());
        let plain = rest.get(..end).unwrap_or_default();
        if field.is_empty() {
            field = Cow::Borrowed(plain);
        } else {
            field.to_mut().push_str(plain);
        }
        let behind = rest.get(end + 1..).unwrap_or_default();
        match behind.strip_prefix('"') {
            Some(further) => {
                field.to_mut().push('"');
                rest = further;
            }
            None => return (field, behind),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_split_by_the_book() {
        for (row, fields) in [
            ("a,b,,c", vec!["a", "b", "", "c"]),
            (r#""a,b","c""d",e"#, vec!["a,b", "c\"d", "e"]),
            (r#""a", "b" ,c"#, vec!["a", "b", "c"]),
            (r#"a"b,c"#, vec!["a\"b", "c"]),
            (r#""a"#, vec!["a"]),
            (r#""""#, vec![""]),
            (r#""""","x""#, vec!["\"", "x"]),
            ("", vec![""]),
            ("a,", vec!["a", ""]),
            ("é,ü", vec!["é", "ü"]),
        ] {
            assert_eq!(split(row, ','), fields, "{row}");
        }
    }

    #[test]
    fn headers_are_told_from_rows() {
        let find = |text: &str| Header::find(text.lines());
        for (text, column, comment) in [
            ("ip,port\n", 0, false),
            ("first_seen;Domain;note\n", 1, false),
            ("\"date\",\"URL\"\n", 1, false),
            ("indicator\na.example\n", 0, false),
            (
                "# x\n# id,date,url\n\"1\",\"2\",\"http://a.example/\"\n",
                2,
                true,
            ),
            ("domain,url,md5\n", 1, false),
            ("uuid\tvalue\tto_ids\n", 1, false),
        ] {
            let header = find(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!((header.column, header.comment), (column, comment), "{text}");
        }
        for text in [
            "a.example\n",
            "# url\na.example\n",
            "# id,url\na.example\n",
            "x,y\n",
            "",
        ] {
            assert_eq!(find(text), None, "{text}");
        }
    }
}
