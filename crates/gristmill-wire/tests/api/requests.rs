//! Request lines: no path, query or marker makes us panic.

use gristmill_wire::api::{ListQuery, Marker, Query, routes::route, token::idempotency_token};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn any_request_line_is_routed_or_refused(
        method in "[A-Z]{0,6}",
        path in "(/(jobs|clusters|apps|images|groups|tasks|instances|[^?]{0,6})){0,7}",
        query in "((Marker|MaxItemCount|State|OrderBy|sync|Detail|[^&]{0,4})(=[^&]{0,6})?&){0,4}",
    ) {
        let Ok(query) = Query::parse(&query) else { return Ok(()) };
        let verdict = route(&method, &path, &query);
        prop_assert!(verdict.as_ref().map_or_else(
            |error| matches!(error.status(), 400),
            |operation| (200..300).contains(&operation.success_status()),
        ));
        for list in [ListQuery::jobs(&query), ListQuery::plain(&query)] {
            prop_assert!(list.map_or(true, |list| (1..=100).contains(&list.items_max)));
        }
        let _ = idempotency_token(&query, b"{}");
    }

    #[test]
    fn a_marker_that_is_read_is_written_again(text in "m?[A-Za-z0-9_-]{0,12}") {
        if let Ok(marker) = Marker::parse(&text) {
            prop_assert_eq!(Marker::parse(&marker.to_string()), Ok(marker));
        }
    }
}
