//! Hugging Face's calls, as its clients make them: `huggingface_hub` 0.36 and 2.4, and ours.

use serde_json::{Value, json};

use super::{File, Reply, Repository, Request, Shared, find};

pub fn reply(shared: &Shared, all: &[Repository], request: &Request, path: &str) -> Reply {
    let parts: Vec<&str> = path.split('/').collect();
    match parts[..] {
        ["api", sort @ ("models" | "datasets"), owner, name, ref rest @ ..] => {
            match find(all, sort, &format!("{owner}/{name}"), request) {
                Ok(repository) => api(repository, request, rest),
                Err(status) => none(status),
            }
        }
        ["datasets", owner, name, "resolve", revision, ref rest @ ..] => resolve(
            shared,
            find(all, "datasets", &format!("{owner}/{name}"), request),
            revision,
            &rest.join("/"),
        ),
        [owner, name, "resolve", revision, ref rest @ ..] => resolve(
            shared,
            find(all, "models", &format!("{owner}/{name}"), request),
            revision,
            &rest.join("/"),
        ),
        _ => Reply::json(404, &json!({"error": "no such page"})),
    }
}

fn none(status: u16) -> Reply {
    Reply::json(status, &json!({"error": "Repository not found"})).with("X-Error-Code", "RepoNotFound")
}

fn api(repository: &Repository, request: &Request, rest: &[&str]) -> Reply {
    let (what, revision) = match rest {
        [] => ("revision", "main"),
        ["revision", revision] => ("revision", *revision),
        ["tree", revision, ..] => ("tree", *revision),
        _ => return Reply::json(404, &json!({"error": "no such call"})),
    };
    if !repository.has_revision(revision) {
        let said = json!({"error": format!("Invalid rev id: {revision}")});
        return Reply::json(404, &said).with("X-Error-Code", "RevisionNotFound");
    }
    if what == "tree" {
        return Reply::json(200, &Value::Array(repository.files.iter().map(entry).collect()));
    }
    let blobs = request.asked("blobs").is_some_and(|b| b.eq_ignore_ascii_case("true"));
    let siblings: Vec<Value> = repository.files.iter().map(|file| sibling(file, blobs)).collect();
    Reply::json(
        200,
        &json!({
            "_id": "1", "id": repository.id, "modelId": repository.id, "author": "a", "sha": repository.commit(),
            "lastModified": "2024-01-01T00:00:00.000Z", "createdAt": "2024-01-01T00:00:00.000Z", "private": false,
            "gated": false, "disabled": false, "tags": [], "downloads": 0, "likes": 0, "siblings": siblings,
        }),
    )
}

fn sibling(file: &File, blobs: bool) -> Value {
    let mut value = json!({"rfilename": file.path});
    if blobs {
        value["size"] = json!(file.bytes.len());
        value["blobId"] = json!(file.blob);
        if file.is_lfs() {
            value["lfs"] = json!({"sha256": file.sha256, "size": file.bytes.len(), "pointerSize": 134});
        }
    }
    value
}

fn entry(file: &File) -> Value {
    let mut value = json!({"type": "file", "oid": file.blob, "size": file.bytes.len(), "path": file.path});
    if file.is_lfs() {
        value["lfs"] = json!({"oid": file.sha256, "size": file.bytes.len(), "pointerSize": 134});
    }
    value
}

fn resolve(shared: &Shared, found: Result<&Repository, u16>, revision: &str, path: &str) -> Reply {
    let repository = match found {
        Ok(repository) => repository,
        Err(status) => return none(status),
    };
    if !repository.has_revision(revision) {
        return Reply::new(404, Vec::new()).with("X-Error-Code", "RevisionNotFound");
    }
    let Some(file) = repository.file(path) else {
        return Reply::new(404, b"Entry not found".to_vec()).with("X-Error-Code", "EntryNotFound");
    };
    let commit = repository.commit();
    if file.is_lfs() {
        return Reply::new(302, Vec::new())
            .with("Location", &shared.signed(file))
            .with("X-Repo-Commit", &commit)
            .with("X-Linked-Size", &file.bytes.len().to_string())
            .with("X-Linked-Etag", &format!("\"{}\"", file.sha256));
    }
    Reply::new(200, file.bytes.clone())
        .with("X-Repo-Commit", &commit)
        .with("ETag", &format!("\"{}\"", file.blob))
}
