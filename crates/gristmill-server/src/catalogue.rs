//! What the region offers: instance types, disk types, system images.

use gristmill_model::{ImageId, InstanceType, catalogue::InstanceTypeName};
use serde::Deserialize;

const BUILT_IN: &str = include_str!("../data/instance_types.toml");

/// System images of the guide. With nothing configured each is the host's own root file system.
pub const SYSTEM_IMAGES: [(&str, &str); 6] = [
    ("img-centos", "Linux"),
    ("img-centos-vpc", "Linux"),
    ("img-ubuntu", "Linux"),
    ("img-ubuntu-vpc", "Linux"),
    ("img-windows", "Windows"),
    ("img-windows-vpc", "Windows"),
];

/// Disk types an account may ask for.
pub const DISK_TYPES: [&str; 5] =
    ["cloud_efficiency", "cloud_ssd", "cloud", "ephemeral", "ephemeral_ssd"];

/// The instance types on offer.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Catalogue {
    /// The type of a machine for which nobody named one.
    pub default: InstanceTypeName,
    /// All types, in the order of the file.
    #[serde(rename = "type")]
    pub types: Vec<InstanceType>,
}

/// A catalogue that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// Not the shape described in the built-in file.
    #[error("the catalogue of instance types cannot be read")]
    Parse(#[from] toml::de::Error),
    /// The default is not among the types.
    #[error("the default instance type `{0}` is not in the catalogue")]
    Default(InstanceTypeName),
}

impl Catalogue {
    /// Reads a catalogue.
    pub fn parse(text: &str) -> Result<Self, CatalogueError> {
        let catalogue: Self = toml::from_str(text)?;
        if catalogue.find(&catalogue.default).is_none() {
            return Err(CatalogueError::Default(catalogue.default));
        }
        Ok(catalogue)
    }

    /// The catalogue that comes with the program.
    pub fn built_in() -> Self {
        Self::parse(BUILT_IN).expect("the built-in catalogue is tested")
    }

    /// The type of this name.
    pub fn find(&self, name: &InstanceTypeName) -> Option<&InstanceType> {
        self.types.iter().find(|known| known.name == *name)
    }
}

/// Whether the image is one that comes with the region.
pub fn is_system_image(image: &ImageId) -> bool {
    SYSTEM_IMAGES.iter().any(|(id, _)| *id == image.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_catalogue_has_the_types_of_the_guide() {
        let catalogue = Catalogue::built_in();
        for (name, cpu, memory) in
            [("ecs.sn1.medium", 2, 4), ("ecs.sn1ne.xlarge", 4, 8), ("ecs.c5.large", 2, 4)]
        {
            let found = catalogue.find(&InstanceTypeName(name.into())).expect(name);
            assert_eq!((found.cpu_cores, found.memory_gb), (cpu, memory), "{name}");
        }
    }

    #[test]
    fn a_default_outside_the_catalogue_is_refused() {
        let text = "default = \"a\"\n[[type]]\nname = \"b\"\ncpu_cores = 1\nmemory_gb = 1\n";
        assert!(matches!(Catalogue::parse(text), Err(CatalogueError::Default(_))));
    }
}
