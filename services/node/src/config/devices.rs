//! What devices get from this installation, and what in its settings does not go together.

use crate::config::{Config, Devices, is_set};
use anyhow::Context;
use auth::{DemoCa, DemoIssuer, DeviceCa, DeviceIssuer, Issuer};
use registry::Credentials;

impl Devices {
    pub(super) fn contradictions(&self) -> Vec<String> {
        let (key, public) = (is_set(&self.token_key_file), !self.token_public_key_files.is_empty());
        let (cert, ca_key) = (is_set(&self.ca_cert_file), is_set(&self.ca_key_file));
        let rules = [
            (
                (key || public) && self.token_issuer.is_empty(),
                "devices.token_issuer: a name (an address of yours) for the issuer of devices' tokens",
            ),
            (cert && !ca_key, "devices.ca_key_file: name the key of devices.ca_cert_file"),
            (ca_key && !cert, "devices.ca_cert_file: name the certificate of devices.ca_key_file"),
            (cert && !key, "devices.token_key_file: a claim gives a token, and a certificate besides"),
        ];
        rules.into_iter().filter(|(wrong, _)| *wrong).map(|(_, text)| text.to_owned()).collect()
    }

    fn signs(&self) -> bool {
        is_set(&self.token_key_file)
    }

    fn tokens(&self) -> anyhow::Result<Option<DeviceIssuer>> {
        let open = || DeviceIssuer::open(&self.token_issuer, &self.token_key_file, self.token_minutes);
        self.signs().then(open).transpose().context("devices.token_key_file")
    }

    /// Whose tokens of devices are believed, where this installation issues some.
    pub(crate) fn issuer(&self) -> anyhow::Result<Option<Issuer>> {
        let tokens = self.tokens()?;
        if tokens.is_none() && self.token_public_key_files.is_empty() {
            return Ok(None);
        }
        let issuer = DeviceIssuer::issuer(tokens.as_ref(), &self.token_issuer, &self.token_public_key_files);
        issuer.map(Some).context("devices.token_public_key_files")
    }
}

impl Config {
    /// What devices get when they claim: of this installation, or else of the demo.
    pub(crate) fn credentials(&self) -> anyhow::Result<Credentials> {
        let demo = self.demo() && !self.devices.signs();
        if demo {
            let tokens = DemoIssuer::open(&self.demo_dir()).context("demo issuer")?.into_devices();
            let authority = DemoCa::open(&self.demo_ca_dir()).context("the demo's authority")?.into_devices();
            return Ok(Credentials { tokens: Some(tokens), authority: Some(authority) });
        }
        let Devices { ca_cert_file, ca_key_file, .. } = &self.devices;
        let authority = is_set(ca_cert_file).then(|| DeviceCa::open(ca_cert_file, ca_key_file)).transpose();
        Ok(Credentials { tokens: self.devices.tokens()?, authority: authority.context("devices.ca_cert_file")? })
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, Sources};

    #[test]
    fn what_does_not_go_together_is_named() {
        for (flags, expected) in [
            (&["devices.token_key_file=k"][..], "devices.token_issuer"),
            (&["devices.token_public_key_files=[\"p\"]"], "devices.token_issuer"),
            (&["devices.ca_key_file=k"], "devices.ca_cert_file"),
            (&["devices.token_minutes=0"], "devices.token_minutes"),
        ] {
            let flags = flags.iter().map(|&flag| flag.to_owned()).collect();
            let text = Config::load(&Sources { file: None, environment: Vec::new(), flags }).unwrap_err().to_string();
            assert!(text.contains("1 mistakes") && text.contains(&format!("  {expected}: ")), "{text}");
        }
        let flags = vec!["devices.ca_cert_file=c".to_owned()];
        let text = Config::load(&Sources { file: None, environment: Vec::new(), flags }).unwrap_err().to_string();
        assert!(text.contains("devices.ca_key_file: ") && text.contains("devices.token_key_file: "), "{text}");
    }
}
