//! ModelScope's calls, as its clients make them: `modelscope` 1.11 and 1.30, `modelscope_hub` 0.5, and ours.

use serde_json::{Value, json};

use super::{File, Reply, Repository, Request, Shared, find};

/// Data sets are asked for by a number as well: this and their place in the list.
const FIRST_ID: usize = 1000;

pub fn reply(shared: &Shared, all: &[Repository], request: &Request, path: &str) -> Reply {
    let parts: Vec<&str> = path.split('/').collect();
    match parts[..] {
        ["datasets", id, "repo", "tree"] => {
            match id.parse().ok().and_then(|id: usize| all.get(id.checked_sub(FIRST_ID)?)) {
                Some(repository) => call(shared, all, repository, request, &["repo", "tree"]),
                None => refused(404, "no such data set"),
            }
        }
        [sort @ ("models" | "datasets"), owner, name, ref rest @ ..] => {
            match find(all, sort, &format!("{owner}/{name}"), request) {
                Ok(repository) => call(shared, all, repository, request, rest),
                Err(401) => refused(403, "you have no permission"),
                Err(status) => refused(status, "no such repository"),
            }
        }
        _ => refused(404, "no such call"),
    }
}

fn refused(status: u16, message: &str) -> Reply {
    Reply::json(
        status,
        &json!({"Code": 10_010_000_000u64 + u64::from(status), "Message": message, "Success": false, "Data": null}),
    )
}

fn good(data: &Value) -> Reply {
    Reply::json(
        200,
        &json!({"Code": 200, "Message": "success", "Success": true, "RequestId": "1", "Data": data}),
    )
}

fn call(
    shared: &Shared,
    all: &[Repository],
    repository: &Repository,
    request: &Request,
    rest: &[&str],
) -> Reply {
    let revision = request.asked("Revision").unwrap_or("master");
    if !repository.has_revision(revision) {
        return refused(404, "no such revision");
    }
    match rest {
        [] => {
            let number = FIRST_ID + all.iter().position(|r| std::ptr::eq(r, repository)).unwrap();
            let (owner, name) = repository.id.split_once('/').unwrap();
            good(&json!({"Id": number, "Type": 1, "Name": name, "Path": owner, "Namespace": owner}))
        }
        ["revisions"] => good(&json!({"RevisionMap": {
            "Branches": [{"Revision": "master", "CreatedAt": 1_700_000_000}],
            "Tags": [],
        }})),
        ["repo", "files"] => good(&json!({"Files": entries(repository)})),
        ["repo", "tree"] => {
            let number = |key: &str| request.asked(key).and_then(|n| n.parse::<usize>().ok());
            let (page, size) = (number("PageNumber").unwrap_or(1), number("PageSize").unwrap_or(100));
            let files: Vec<Value> =
                entries(repository).into_iter().skip((page - 1) * size).take(size).collect();
            good(&json!({"Files": files}))
        }
        ["repo"] => match request.asked("FilePath").and_then(|path| repository.file(path)) {
            Some(file) if file.is_lfs() => Reply::new(302, Vec::new()).with("Location", &shared.signed(file)),
            Some(file) => Reply::new(200, file.bytes.clone()),
            None => refused(404, "no such file"),
        },
        _ => refused(404, "no such call"),
    }
}

fn entries(repository: &Repository) -> Vec<Value> {
    let entry = |file: &File| {
        json!({
            "Name": file.path.rsplit('/').next(), "Path": file.path, "Type": "blob", "Mode": "33188",
            "Size": file.bytes.len(), "Revision": repository.commit(), "Sha256": file.sha256, "IsLFS": file.is_lfs(),
            "CommittedDate": 1_700_000_000, "CommitMessage": "", "InCheck": false,
        })
    };
    repository.files.iter().map(entry).collect()
}
