//! What can be changed of a cluster that exists (`reference/api.md` 9.4).
//!
//! Sizes hold at once. Everything else is for machines that are made afterwards: those that are
//! there keep the type, the image and the price limit they were made with.

use crate::{
    catalogue::InstanceTypeName,
    ids::ImageId,
    names::GroupName,
    spec::{Mounts, Resource},
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A change of a cluster. A member that is `None` stays as it is.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ClusterChange {
    /// Groups that change; all others stay.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub groups: BTreeMap<GroupName, GroupChange>,
    /// Image of groups without their own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageId>,
    /// Replaces the user data as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_data: Option<BTreeMap<String, String>>,
    /// Replaces the environment as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub env: Option<BTreeMap<String, String>>,
    /// Replaces the mounts as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mounts: Option<NewMounts>,
}

/// A change of a group.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct GroupChange {
    /// The new size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub desired: Option<u32>,
    /// The type of new machines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance_type: Option<InstanceTypeName>,
    /// The image of new machines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageId>,
    /// What new spot machines may cost. Only [`Resource::Spot`], and only for a group of spot
    /// machines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spot: Option<Resource>,
}

/// Mounts that replace those of a cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum NewMounts {
    /// None any longer.
    Nothing,
    /// These.
    These(Mounts),
}

impl ClusterChange {
    /// Whether nothing would change.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl GroupChange {
    /// Only a new size.
    pub fn size(desired: u32) -> Self {
        Self { desired: Some(desired), ..Self::default() }
    }

    /// Whether machines made afterwards look different.
    pub fn is_of_shape(&self) -> bool {
        let Self { desired: _, instance_type, image, spot } = self;
        instance_type.is_some() || image.is_some() || spot.is_some()
    }
}
