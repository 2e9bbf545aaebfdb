//! The hosted service's regions by name, with what the guide calls them (chapter 支持的地域). A region
//! of one's own may have any name; these are known, nothing more.

use super::{Language, Text};

const fn label(en: &'static str, zh: &'static str) -> Text {
    Text { en, zh }
}

/// The guide's list, in its order.
pub const REGIONS: [(&str, Text); 11] = [
    ("cn-beijing", label("China North 2 (Beijing)", "华北2（北京）")),
    ("cn-zhangjiakou", label("China North 3 (Zhangjiakou)", "华北3（张家口）")),
    ("cn-huhehaote", label("China North 5 (Hohhot)", "华北5（呼和浩特）")),
    ("cn-hangzhou", label("China East 1 (Hangzhou)", "华东1（杭州）")),
    ("cn-shanghai", label("China East 2 (Shanghai)", "华东2（上海）")),
    ("cn-shenzhen", label("China South 1 (Shenzhen)", "华南1（深圳）")),
    ("cn-hongkong", label("Hong Kong", "香港")),
    ("ap-southeast-1", label("Singapore", "新加坡")),
    ("eu-central-1", label("Germany (Frankfurt)", "德国（法兰克福）")),
    ("us-west-1", label("USA (Silicon Valley)", "美国（硅谷）")),
    ("us-east-1", label("USA (Virginia)", "美国（弗吉尼亚）")),
];

/// What the guide calls a region; none for a name of one's own.
pub fn label_of(region: &str, language: Language) -> Option<&'static str> {
    let found = REGIONS.iter().find(|(name, _)| *name == region);
    found.map(|(_, label)| label.plain(language))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_regions_have_a_label_in_each_language_and_others_have_none() {
        assert_eq!(label_of("cn-beijing", Language::Chinese), Some("华北2（北京）"));
        assert_eq!(label_of("us-east-1", Language::English), Some("USA (Virginia)"));
        assert_eq!(label_of("cn-local", Language::English), None);
        for (name, label) in REGIONS {
            assert!(label.en.is_ascii() && !label.zh.is_ascii(), "{name}");
        }
    }
}
