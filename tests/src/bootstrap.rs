//! The files of `envoy/`, with their placeholders filled in, used as they are or mutated.

use std::{
    collections::BTreeMap,
    fmt::Display,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::Programs;

/// A bootstrap of the repository.
#[derive(Clone, Debug)]
pub struct Bootstrap {
    text: String,
    values: BTreeMap<&'static str, String>,
    mutated: Option<Value>,
}

impl Bootstrap {
    /// Reads `envoy/NAME.yaml`.
    pub fn read(programs: &Programs, name: &str) -> Result<Self> {
        Self::read_file(programs, &format!("envoy/{name}.yaml"))
    }

    /// Reads another bootstrap of the repository, by its path from the root.
    pub fn read_file(programs: &Programs, path: &str) -> Result<Self> {
        let path = programs.repository_file(path)?;
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Self { text, values: BTreeMap::new(), mutated: None })
    }

    /// Gives the value of a placeholder; one that the file lacks is left unused.
    #[must_use]
    pub fn with(mut self, placeholder: &'static str, value: impl Display) -> Self {
        self.values.insert(placeholder, value.to_string());
        self
    }

    /// Changes the configuration: for checks that a test notices when a wall is gone.
    pub fn mutate(mut self, change: impl FnOnce(&mut Value)) -> Result<Self> {
        let mut configuration = self.configuration()?;
        change(&mut configuration);
        self.mutated = Some(configuration);
        Ok(self)
    }

    /// The configuration's structure, placeholders filled in and aliases resolved.
    pub fn configuration(&self) -> Result<Value> {
        match &self.mutated {
            Some(configuration) => Ok(configuration.clone()),
            None => serde_saphyr::from_str(&self.filled_in()?).context("a bootstrap is not YAML"),
        }
    }

    /// Writes it below `directory`, ready for Envoy: the file's own YAML, or a mutation as JSON.
    pub fn write(&self, directory: &Path) -> Result<PathBuf> {
        let (path, text) = match &self.mutated {
            None => (directory.join("envoy.yaml"), self.filled_in()?),
            Some(configuration) => (directory.join("envoy.json"), configuration.to_string()),
        };
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }

    /// The text with every placeholder of its code replaced; those in comments stay.
    fn filled_in(&self) -> Result<String> {
        let mut filled = String::with_capacity(self.text.len());
        for line in self.text.lines() {
            let mut line = line.to_owned();
            if !line.trim_start().starts_with('#') {
                for (placeholder, value) in &self.values {
                    line = line.replace(&format!("${{{placeholder}}}"), value);
                }
                if let Some((_, rest)) = line.split_once("${") {
                    let name = rest.split('}').next().unwrap_or(rest);
                    bail!("the bootstrap's placeholder {name} has no value");
                }
            }
            filled.push_str(&line);
            filled.push('\n');
        }
        Ok(filled)
    }
}

/// Visits every mapping in a configuration that holds `key`, wherever it stands.
pub fn holders(value: &mut Value, key: &str, visit: &mut impl FnMut(&mut Value)) {
    if value.get(key).is_some() {
        visit(value);
    }
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| holders(item, key, visit)),
        Value::Object(fields) => {
            fields.values_mut().for_each(|field| holders(field, key, visit));
        }
        _ => {}
    }
}

/// Puts something else at the end of a cluster: it answers at `address` instead.
pub fn redirect(configuration: &mut Value, cluster: &str, address: SocketAddr) {
    holders(configuration, "load_assignment", &mut |found| {
        if found["name"] == cluster {
            let (address, port) = (address.ip().to_string(), address.port());
            found["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"] = json!({
                "address": { "socket_address": { "address": address, "port_value": port } },
            });
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bootstrap(text: &str) -> Bootstrap {
        Bootstrap { text: text.to_owned(), values: BTreeMap::new(), mutated: None }
    }

    #[test]
    fn placeholders_are_filled_in_and_a_forgotten_one_is_named() {
        let filled = bootstrap("# ${NAME}\nid: ${NAME}").with("NAME", "a").filled_in().unwrap();
        assert_eq!(filled, "# ${NAME}\nid: a\n");
        let complaint = bootstrap("id: ${NAME}").filled_in().unwrap_err().to_string();
        assert_eq!(complaint, "the bootstrap's placeholder NAME has no value");
    }

    #[test]
    fn mutations_reach_every_holder() {
        let mut mutated = bootstrap("a: [{ tls: 1 }, { b: { tls: 2 } }]")
            .mutate(|configuration| {
                holders(configuration, "tls", &mut |holder| holder["tls"] = 3.into());
            })
            .unwrap();
        let expected = serde_json::json!({ "a": [{ "tls": 3 }, { "b": { "tls": 3 } }] });
        assert_eq!(mutated.mutated.take(), Some(expected));
    }
}
