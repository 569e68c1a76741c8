//! The cases through the command line, many at once: a line of JSON each, with the keys of a policy's `tests:`.

use std::{collections::BTreeMap, path::Path, process::Command};

use e2e::Programs;
use serde_json::{Value, json};

use crate::{
    case::Case,
    files::{self, Corpus, DESTINATION, POLICIES},
};

/// The case as `tests:` has it; none where its octets are no text, or nothing is asked for.
fn line(case: &Case) -> Option<Value> {
    let text = |octets: &[u8]| String::from_utf8(octets.to_vec()).ok();
    // A plain CONNECT asks for its authority.
    let target = case.path.as_ref().or(case.authority.as_ref()).filter(|path| !path.is_empty())?;
    let mut line = json!({
        "from": case.from.as_deref().unwrap_or("-"),
        "to": DESTINATION,
        "request": format!("{} {}", text(&case.method)?, text(target)?),
    });
    if let Some(authority) = &case.authority {
        line["host"] = text(authority)?.into();
    }
    let mut headers = BTreeMap::<String, Vec<String>>::new();
    for (name, value) in &case.headers {
        let (name, value) = (text(name)?, text(value)?);
        if name == ":protocol" {
            line["upgrade"] = value.into();
        } else {
            headers.entry(name).or_default().push(value);
        }
    }
    line["headers"] = json!(headers);
    Some(line)
}

/// Decides them all in one process: its exit code, and what it says to each.
fn decided(signet: &Path, policy: &str, lines: &[&Value]) -> (i32, Vec<Value>) {
    let batch = tempfile::NamedTempFile::new().unwrap();
    let lines: Vec<String> = lines.iter().map(ToString::to_string).collect();
    std::fs::write(&batch, lines.join("\n")).unwrap();
    let output = Command::new(signet)
        .args(["policy", "decide"])
        .arg(files::path(&format!("{policy}/policy.yaml")))
        .arg("--batch")
        .arg(batch.path())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let decisions = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (output.status.code().unwrap(), decisions)
}

#[test]
fn the_command_line_decides_as_the_cases_say() {
    let signet = Programs::locate().unwrap().own("signet").unwrap();
    let mut agreed = 0;
    for policy in POLICIES {
        let corpus = Corpus::read(policy);
        let cases: Vec<(&Case, Value)> =
            corpus.cases().filter_map(|case| Some((case, line(case)?))).collect();
        let lines: Vec<&Value> = cases.iter().map(|(_, line)| line).collect();
        let (code, decisions) = decided(&signet, policy, &lines);
        assert_eq!(decisions.len(), lines.len(), "{policy}");
        let mut wrong = Vec::new();
        let mut valid = Vec::new();
        for ((case, line), decision) in cases.iter().zip(&decisions) {
            let found = ["decision", "rule", "db_role"].map(|key| decision[key].as_str());
            let said = [Some(&case.expect), case.rule.as_ref(), case.db_role.as_ref()];
            // Who is nobody cannot be named, and may do nothing.
            let nobody =
                decision["error"].is_string() && said == [Some(&"deny".to_owned()), None, None];
            if !nobody {
                valid.push(line);
                if found != said.map(|part| part.map(String::as_str)) {
                    wrong.push(format!("{}\n  {decision}", case.write()));
                }
            }
        }
        assert!(wrong.is_empty(), "{policy}: {} cases:\n{}", wrong.len(), wrong.join("\n"));
        assert_eq!(code, if valid.len() == lines.len() { 0 } else { 2 }, "{policy}");
        assert_eq!(decided(&signet, policy, &valid).0, 0, "{policy}: all can be decided");
        agreed += valid.len();
    }
    assert!(agreed >= 6_000, "{agreed} cases");
}
