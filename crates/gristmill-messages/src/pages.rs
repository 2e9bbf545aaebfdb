//! Pages of lists: what belongs to one owner, in the order of names, from a name on, with a beginning
//! in common.

use crate::{
    desk::Desk,
    error::MessagesError,
    nouns::{Listing, Page},
};
use rusqlite::{Row, params};

/// Where a list is.
pub(crate) struct List<'a> {
    /// `SELECT … FROM …`.
    pub select: &'a str,
    /// The column of the owner.
    pub owner: &'a str,
    /// The column of the name.
    pub name: &'a str,
}

impl List<'_> {
    /// A page of what this owner has.
    pub(crate) fn page<T>(
        &self,
        desk: &Desk<'_>,
        owner: i64,
        page: &Page,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
        name_of: impl Fn(&T) -> &str,
    ) -> Result<Listing<T>, MessagesError> {
        let Self { select, owner: whose, name } = self;
        let sql = format!(
            "{select} WHERE {whose} = ?1 AND {name} > ?2 AND {name} >= ?3
                 AND substr({name}, 1, ?4) = ?3
             ORDER BY {name} LIMIT ?5"
        );
        let Page { prefix, after, items_max } = page;
        let length = prefix.chars().count() as i64;
        // One too far, to know whether there is more.
        let wanted = params![owner, after, prefix, length, i64::from(*items_max) + 1];
        let mut query = desk.connection.prepare_cached(&sql)?;
        let mut items = query.query_map(wanted, read)?.collect::<Result<Vec<_>, _>>()?;
        let more = items.len() > *items_max as usize;
        items.truncate(*items_max as usize);
        let next = items.last().filter(|_| more).map(|last| name_of(last).to_owned());
        Ok(Listing { items, next })
    }
}
