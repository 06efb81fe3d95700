//! Laws of patterns, for texts and observations of any kind.

use serde_json::Value as Json;

use super::ast::Observation;
use super::ast::Pattern;
use super::ast::Spec;
use super::observed::try_pattern;

/// Law: what is written of a pattern reads as the same pattern; errors point into the text; the
/// editions agree where both take a text.
pub(crate) fn parse(input: &[u8], seen: &mut dyn FnMut(&str)) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let parsed = [Spec::V20, Spec::V21].map(|spec| {
        let parsed = Pattern::parse(text, spec);
        match &parsed {
            Ok(pattern) => {
                seen(&format!("{pattern:?}"));
                let written = pattern.to_string();
                let again = Pattern::parse(&written, spec);
                assert_eq!(again.as_ref(), Ok(pattern), "written as {written}");
                assert_eq!(again.map(|again| again.to_string()), Ok(written));
            }
            Err(error) => {
                seen(&format!("{:?}", error.problem));
                assert!(text.is_char_boundary(error.offset), "at {}", error.offset);
                let before = &text[..error.offset];
                let line = before.rfind('\n').map_or(0, |at| at + 1);
                let place = (
                    1 + before.matches('\n').count(),
                    before[line..].chars().count(),
                );
                assert_eq!((error.line, error.column), place);
                assert!(error.to_string().len() < 400, "{error}");
            }
        }
        parsed.ok()
    });
    if let [Some(old), Some(new)] = parsed {
        assert_eq!(old, new);
    }
}

/// Law: a verdict does not depend on the order of what was observed; a pattern, the pattern as
/// it is written, and a choice between it and itself come to the same.
///
/// An input is a pattern, a line end, and observed-data in JSON.
pub(crate) fn evaluate(input: &[u8], seen: &mut dyn FnMut(&str)) {
    let Some((text, observed)) = std::str::from_utf8(input)
        .ok()
        .and_then(|text| text.split_once('\n'))
    else {
        return;
    };
    let Ok(pattern) = Pattern::parse(text, Spec::V21) else {
        return;
    };
    let Ok(observed) = serde_json::from_str::<Json>(observed) else {
        return;
    };
    let mut observed = match observed {
        Json::Array(values) => values,
        value => vec![value],
    };
    let told = try_pattern(&pattern, &observed);
    seen(&format!("{told:?} {:?}", pattern.expression));
    let written = Pattern::parse(&pattern.to_string(), Spec::V21).unwrap();
    assert_eq!(try_pattern(&written, &observed), told, "as written");
    let Ok(told) = told else {
        return;
    };
    let either = Pattern {
        expression: Observation::Or(vec![pattern.expression.clone(); 2]),
    };
    if let Ok(either) = try_pattern(&either, &observed) {
        assert_eq!(either, told, "either");
    }
    // of objects of one id in two bundles, the later holds
    let text = observed.iter().map(Json::to_string).collect::<String>();
    if text.contains("\"bundle\"") || text.matches("\"id\"").count() > 1 {
        return;
    }
    observed.reverse();
    if let Ok(reversed) = try_pattern(&pattern, &observed) {
        assert_eq!(reversed, told, "reversed");
    }
}
