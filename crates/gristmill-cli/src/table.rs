//! Tables of text: ASCII lines, a header row, columns that line up also in Chinese.
//!
//! Cells are never wrapped or cut, so that a pipe sees whole ids.

use comfy_table::{ContentArrangement, ContentLineStyle, LineStyle, Table, TableStyle};

/// The lines of the official tool's tables.
const STYLE: TableStyle = TableStyle::new()
    .top_border(LineStyle::new('+', '-', '+', '+'))
    .header_lines(ContentLineStyle::new('|', '|', '|'))
    .header_separator(LineStyle::new('+', '-', '+', '+'))
    .content_lines(ContentLineStyle::new('|', '|', '|'))
    .bottom_border(LineStyle::new('+', '-', '+', '+'));

/// Rows below a header, as lines; states in colour when that is welcome.
pub fn table(header: &[&str], rows: &[Vec<String>], colour: bool) -> String {
    let mut table = Table::new();
    table.load_style(STYLE).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header.iter().copied());
    for row in rows {
        table.add_row(row);
    }
    painted(&table.to_string(), colour)
}

/// A finished table with its states in colour: colouring after the layout keeps columns straight.
pub fn painted(table: &str, colour: bool) -> String {
    if !colour {
        return table.to_owned();
    }
    let paint = |cell: &str| {
        let name = cell.trim();
        cell.replacen(name, &state(name, true), usize::from(!name.is_empty()))
    };
    let line = |(at, line): (usize, &str)| match at {
        0..HEADER_LINES => line.to_owned(),
        _ => line.split('|').map(paint).collect::<Vec<_>>().join("|"),
    };
    table.lines().enumerate().map(line).collect::<Vec<_>>().join("\n")
}

/// The line above the header, the header, the line below it.
const HEADER_LINES: usize = 3;

/// Rows numbered from 1 in a first column.
pub fn numbered(header: &[&str], rows: &[Vec<String>], colour: bool) -> String {
    let header: Vec<&str> = [&["No."], header].concat();
    let rows: Vec<Vec<String>> = rows
        .iter()
        .enumerate()
        .map(|(at, row)| [&[format!("{}.", at + 1)], row.as_slice()].concat())
        .collect();
    table(&header, &rows, colour)
}

/// A state with its usual colour, when colours are welcome.
pub fn state(name: &str, colour: bool) -> String {
    let code = match name {
        "Running" | "Active" | "Starting" => "34",
        "Finished" => "32",
        "Failed" | "Deleted" => "31",
        "Waiting" | "Pending" | "Deleting" => "33",
        _ => return name.to_owned(),
    };
    if colour { format!("\x1b[{code}m{name}\x1b[0m") } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chinese_columns_line_up() {
        let rows =
            [vec!["日志统计".to_owned(), "1".to_owned()], vec!["log".to_owned(), "22".to_owned()]];
        insta::assert_snapshot!(numbered(&["Name", "次数"], &rows, false), @r"
        +-----+----------+------+
        | No. | Name     | 次数 |
        +-----+----------+------+
        | 1.  | 日志统计 | 1    |
        | 2.  | log      | 22   |
        +-----+----------+------+
        ");
    }
    #[test]
    fn colours_do_not_move_columns() {
        let rows = [vec!["Running".to_owned(), "Running-up".to_owned()]];
        let painted = table(&["State", "Name"], &rows, true);
        assert!(painted.contains("\x1b[34mRunning\x1b[0m | Running-up |"), "{painted}");
    }
}
