//! The client's settings: the official tool's `cliconfig`, and variables that win over it.
//!
//! The file is INI with one section, `[common]` (`reference/bcs-cli.md` 3.1). The official tool
//! reads and writes the same file, so keys we do not know stay, `%` is doubled on disk as its
//! reader expects, and the file is replaced whole with mode 0600. `endpoint` and `oss_endpoint` are
//! ours: complete URLs that make hosts entries unnecessary, in a section `[gristmill]`.
//!
//! Start at [`Settings::load`].

use crate::{
    client::{Credentials, Endpoints},
    environment::Environment,
    ini_text,
    words::{Complaint, messages as m},
};
use ini::{EscapePolicy, Ini, WriteOption};
use std::{
    fs, io,
    io::Write,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
};

const SECTION: &str = "common";
/// Where our own keys are written: the official tool empties its section of keys it does not
/// know, and leaves other sections alone. They are read from either.
const OWN_SECTION: &str = "gristmill";
const OWN_KEYS: [&str; 3] = ["endpoint", "oss_endpoint", "securitytoken"];

/// Words that mean "remove this key" when given as its value.
const REMOVERS: [&str; 6] = ["", "null", "None", "false", "False", "0"];

/// Variables that win over keys of the file.
const VARIABLES: [(&str, &str); 7] = [
    ("endpoint", "BCS_ENDPOINT"),
    ("oss_endpoint", "BCS_OSS_ENDPOINT"),
    ("accesskeyid", "BCS_ACCESS_KEY_ID"),
    ("accesskeysecret", "BCS_ACCESS_KEY_SECRET"),
    ("securitytoken", "BCS_SECURITY_TOKEN"),
    ("region", "BCS_REGION"),
    ("osspath", "BCS_OSSPATH"),
];

/// The settings in force.
pub struct Settings {
    file: Ini,
    path: PathBuf,
    overrides: Vec<(&'static str, String)>,
}

/// Why the file could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// It is there but cannot be read.
    #[error("could not read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// It is not INI.
    #[error("`{}` is not a settings file", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: ini::ParseError,
    },
    /// It cannot be replaced.
    #[error("could not write `{}`", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

impl SettingsError {
    /// The same in words of both languages.
    pub fn complaint(&self) -> Complaint {
        match self {
            Self::Read { path, .. } => m::CANNOT_READ.complain([("what", &path.display())]),
            Self::Parse { path, .. } => m::CANNOT_PARSE.complain([("what", &path.display())]),
            Self::Write { path, .. } => m::CANNOT_WRITE.complain([("what", &path.display())]),
        }
    }
}

impl Settings {
    /// Reads the file, if there is one, and the variables.
    pub fn load(environment: &Environment) -> Result<Self, SettingsError> {
        let path = environment.config_dir.join("cliconfig");
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(source) => return Err(SettingsError::Read { path, source }),
        };
        let file = ini_text::read(&text, false)
            .map_err(|source| SettingsError::Parse { path: path.clone(), source })?;
        let overrides = VARIABLES
            .into_iter()
            .filter_map(|(key, name)| Some((key, environment.variable(name)?.to_owned())))
            .collect();
        Ok(Self { file, path, overrides })
    }

    /// The value in force: variable, else file. Empty values count as absent.
    pub fn get(&self, key: &str) -> Option<String> {
        let overridden = self.overrides.iter().find(|(name, _)| *name == key);
        match overridden {
            Some((_, value)) => Some(value.clone()),
            None => [OWN_SECTION, SECTION]
                .into_iter()
                .find_map(|section| self.file.get_from(Some(section), key))
                .map(|value| value.replace("%%", "%")),
        }
        .filter(|value| !value.is_empty())
    }

    /// Changes a key of the file in memory; the remover words delete it.
    pub fn set(&mut self, key: &str, value: &str) {
        if REMOVERS.contains(&value) {
            self.remove(key);
        } else {
            self.keep(key, value);
        }
    }

    /// Changes a key of the file in memory, whatever its value says.
    pub fn keep(&mut self, key: &str, value: &str) {
        let is_own = OWN_KEYS.contains(&key);
        let (section, other) = if is_own { (OWN_SECTION, SECTION) } else { (SECTION, OWN_SECTION) };
        self.file.delete_from(Some(other), key);
        self.file.set_to(Some(section), key.to_owned(), value.replace('%', "%%"));
    }

    /// Deletes a key of the file in memory.
    pub fn remove(&mut self, key: &str) {
        self.file.delete_from(Some(SECTION), key);
        self.file.delete_from(Some(OWN_SECTION), key);
    }

    /// Forgets everything in the file's sections.
    pub fn clear(&mut self) {
        self.file.delete(Some(SECTION));
        self.file.delete(Some(OWN_SECTION));
        self.file.entry(Some(SECTION.to_owned())).or_insert_with(ini::Properties::new);
    }

    /// Keys and values in force, in the order of the file, variables' own keys after them.
    pub fn entries(&self) -> Vec<(String, String)> {
        let mut keys: Vec<String> = [SECTION, OWN_SECTION]
            .into_iter()
            .filter_map(|section| self.file.section(Some(section)))
            .flat_map(|section| section.iter().map(|(key, _)| key.to_owned()))
            .collect();
        for (key, _) in &self.overrides {
            if !keys.iter().any(|known| known == key) {
                keys.push((*key).to_owned());
            }
        }
        keys.into_iter().filter_map(|key| Some((key.clone(), self.get(&key)?))).collect()
    }

    /// Replaces the file, readable by its owner only.
    pub fn save(&self) -> Result<(), SettingsError> {
        self.write().map_err(|source| SettingsError::Write { path: self.path.clone(), source })
    }

    fn write(&self) -> io::Result<()> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        private_folder(folder)?;
        let mut draft = tempfile::NamedTempFile::new_in(folder)?;
        draft.as_file().set_permissions(fs::Permissions::from_mode(0o600))?;
        let options = WriteOption {
            escape_policy: EscapePolicy::Nothing,
            kv_separator: " = ",
            ..WriteOption::default()
        };
        self.file.write_to_opt(&mut draft, options)?;
        draft.flush()?;
        draft.persist(&self.path)?;
        Ok(())
    }

    /// The default `oss://bucket/prefix/`, always with a slash at its end.
    pub fn osspath(&self) -> Result<String, Complaint> {
        let path = self.get("osspath").ok_or_else(|| m::NO_OSSPATH.complain([]))?;
        Ok(format!("{}/", path.trim_end_matches('/')))
    }

    /// Where the services answer: `endpoint` and `oss_endpoint` as they are, otherwise the names
    /// that the official tool forms from the region. An `endpoint` with a port implies the object
    /// store on the next one.
    pub fn endpoints(&self) -> Result<Endpoints, Complaint> {
        let region = self.get("region");
        let batchcompute_url = match (self.get("endpoint"), &region) {
            (Some(url), _) => url,
            (None, Some(region)) => self.hosted_batchcompute(region),
            (None, None) => return Err(m::NO_REGION.complain([])),
        };
        let oss_region = self.get("oss_region").or_else(|| region.clone());
        let own = self.get("endpoint").and_then(|url| next_port(&with_scheme(url)));
        let oss_url = match (self.get("oss_endpoint"), own, oss_region) {
            (Some(url), _, _) | (None, Some(url), _) => url,
            (None, None, Some(region)) => self.hosted_oss(&region),
            (None, None, None) => return Err(m::NO_REGION.complain([])),
        };
        let trim = |url: String| url.trim_end_matches('/').to_owned();
        Ok(Endpoints {
            batchcompute_url: trim(with_scheme(batchcompute_url)),
            oss_url: trim(with_scheme(oss_url)),
            region: region.unwrap_or_else(|| "cn-local".to_owned()),
        })
    }

    fn hosted_batchcompute(&self, region: &str) -> String {
        let scheme = if self.get("ssl").is_some() { "http" } else { "https" };
        let name = if self.is_inside() { "batchcompute-vpc" } else { "batchcompute" };
        format!("{scheme}://{name}.{region}.aliyuncs.com")
    }

    fn hosted_oss(&self, region: &str) -> String {
        let suffix = if self.is_inside() { "-internal" } else { "" };
        format!("http://oss-{region}{suffix}.aliyuncs.com")
    }

    fn is_inside(&self) -> bool {
        self.get("localhostnetworktype").is_some_and(|value| value.eq_ignore_ascii_case("vpc"))
    }

    /// The access key for BatchCompute.
    pub fn credentials(&self) -> Result<Credentials, Complaint> {
        match (self.get("accesskeyid"), self.get("accesskeysecret")) {
            (Some(id), Some(secret)) => {
                Ok(Credentials { access_key_id: id, secret, token: self.get("securitytoken") })
            }
            _ => Err(m::NOT_LOGGED_IN.complain([])),
        }
    }

    /// The access key for the object store; the main one unless `oss login` gave another.
    pub fn oss_credentials(&self) -> Result<Credentials, Complaint> {
        match (self.get("oss_id"), self.get("oss_key")) {
            (Some(id), Some(secret)) => Ok(Credentials { access_key_id: id, secret, token: None }),
            _ => self.credentials(),
        }
    }

    /// Whether hidden commands show and numbers may name what is to be destroyed.
    pub fn is_god(&self) -> bool {
        self.get("god").is_some()
    }
}

/// `host:port` is taken as plain HTTP.
fn with_scheme(url: String) -> String {
    if url.contains("://") { url } else { format!("http://{url}") }
}

/// The same host, one port higher: where Gristmill puts its object store unless told otherwise.
fn next_port(url: &str) -> Option<String> {
    let (host, port) = url.trim_end_matches('/').rsplit_once(':')?;
    let port: u16 = port.parse().ok()?;
    Some(format!("{host}:{}", port.checked_add(1)?))
}

/// Makes the folder, for its owner only, when it is not there.
pub(crate) fn private_folder(folder: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// A secret as it may be shown: three letters at each end, or one when it is short.
pub fn masked(secret: &str) -> String {
    let letters: Vec<char> = secret.chars().collect();
    match letters.len() {
        0 => String::new(),
        1..=6 => format!("{}*****", letters[0]),
        count => {
            let head: String = letters[..3].iter().collect();
            let tail: String = letters[count - 3..].iter().collect();
            format!("{head}******{tail}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::tests::nowhere;

    fn place(text: &str) -> (tempfile::TempDir, Environment) {
        let folder = tempfile::tempdir().unwrap();
        let environment = nowhere(folder.path());
        fs::create_dir_all(&environment.config_dir).unwrap();
        fs::write(environment.config_dir.join("cliconfig"), text).unwrap();
        (folder, environment)
    }

    /// Written by the official tool, version 1.7.7.
    const OFFICIAL: &str = "[common]\nregion = cn-test\naccesskeyid = testid\n\
        accesskeysecret = se%%cret\nosspath = oss://b/p/\ndefaultimage = img-ubuntu\n\
        vpc_cidr_block = 192.168.0.0/16\nunknown_key = C:\\dir\n\n";

    #[test]
    fn the_official_file_is_read_and_written_back_with_unknown_keys() {
        let (_folder, environment) = place(OFFICIAL);
        let mut settings = Settings::load(&environment).unwrap();
        assert_eq!(settings.get("accesskeysecret").as_deref(), Some("se%cret"));
        settings.set("locale", "zh");
        settings.set("defaultimage", "None");
        settings.save().unwrap();
        let text = fs::read_to_string(environment.config_dir.join("cliconfig")).unwrap();
        assert_eq!(
            text.trim_end(),
            "[common]\nregion = cn-test\naccesskeyid = testid\naccesskeysecret = se%%cret\n\
             osspath = oss://b/p/\nvpc_cidr_block = 192.168.0.0/16\nunknown_key = C:\\dir\n\
             locale = zh"
        );
    }

    #[test]
    fn our_own_keys_stand_in_a_section_that_the_official_tool_leaves_alone() {
        let (_folder, environment) = place("[common]\nregion = r\nendpoint = http://old:1\n");
        let mut settings = Settings::load(&environment).unwrap();
        assert_eq!(settings.get("endpoint").as_deref(), Some("http://old:1"));
        settings.set("endpoint", "http://new:1");
        settings.save().unwrap();
        let text = fs::read_to_string(environment.config_dir.join("cliconfig")).unwrap();
        let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
        assert_eq!(lines, ["[common]", "region = r", "[gristmill]", "endpoint = http://new:1"]);
        let again = Settings::load(&environment).unwrap();
        assert_eq!(again.get("endpoint").as_deref(), Some("http://new:1"));
    }

    #[test]
    fn the_file_is_for_its_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let environment = nowhere(folder.path());
        let mut settings = Settings::load(&environment).unwrap();
        settings.set("accesskeysecret", "s");
        settings.save().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&environment.config_dir.join("cliconfig")), 0o600);
        assert_eq!(mode(&environment.config_dir), 0o700);
    }

    #[test]
    fn variables_win_and_are_not_saved() {
        let (_folder, mut environment) = place(OFFICIAL);
        environment.variables.insert("BCS_REGION".into(), "cn-other".into());
        environment.variables.insert("BCS_ENDPOINT".into(), "127.0.0.1:8080/".into());
        let settings = Settings::load(&environment).unwrap();
        let endpoints = settings.endpoints().unwrap();
        assert_eq!(endpoints.region, "cn-other");
        assert_eq!(endpoints.batchcompute_url, "http://127.0.0.1:8080");
        assert_eq!(endpoints.oss_url, "http://127.0.0.1:8081", "one port higher unless it is set");
        settings.save().unwrap();
        let text = fs::read_to_string(environment.config_dir.join("cliconfig")).unwrap();
        assert!(text.contains("region = cn-test") && !text.contains("8080"), "{text}");
    }

    #[test]
    fn host_names_are_formed_as_the_official_tool_forms_them() {
        let check = |more: &str, batchcompute: &str, oss: &str| {
            let (_folder, environment) = place(&format!("[common]\nregion = r\n{more}"));
            let endpoints = Settings::load(&environment).unwrap().endpoints().unwrap();
            assert_eq!(endpoints.batchcompute_url, batchcompute);
            assert_eq!(endpoints.oss_url, oss);
        };
        check("", "https://batchcompute.r.aliyuncs.com", "http://oss-r.aliyuncs.com");
        check("ssl = false\n", "http://batchcompute.r.aliyuncs.com", "http://oss-r.aliyuncs.com");
        check(
            "localhostnetworktype = VPC\noss_region = o\n",
            "https://batchcompute-vpc.r.aliyuncs.com",
            "http://oss-o-internal.aliyuncs.com",
        );
    }

    #[test]
    fn secrets_are_masked() {
        assert_eq!(masked("abcdefghxyz"), "abc******xyz");
        assert_eq!(masked("abcdef"), "a*****");
        assert_eq!(masked(""), "");
    }
}
