from __future__ import annotations

import pytest

from shared.errors import ErrorCode
from shared.storage.errors import StorageError, Trouble, classify

JSON = "application/json; charset=utf-8"
PLAIN = "text/plain;charset=UTF-8"
HTML = "text/html"


def body(status: str, error: str, message: str, code: str = "") -> str:
    code = f',"code":"{code}"' if code else ""
    return f'{{"statusCode":"{status}","error":"{error}","message":"{message}"{code}}}'


ANSWERS = [
    # What the REST calls answer: with HTTP 400, and with the newer servers' own code.
    (400, JSON, body("409", "Duplicate", "The resource already exists", "KeyAlreadyExists"), Trouble.EXISTS, 409),
    (400, JSON, body("409", "Duplicate", "The resource already exists", "ResourceAlreadyExists"), Trouble.EXISTS, 409),
    (400, JSON, body("409", "Duplicate", "The resource already exists", "BucketAlreadyExists"), Trouble.EXISTS, 409),
    (400, JSON, body("409", "ResourceNotEmpty", "The bucket is not empty", "ResourceNotEmpty"), Trouble.BUSY, 409),
    (400, JSON, body("404", "not_found", "Object not found", "NoSuchKey"), Trouble.NOT_FOUND, 404),
    (400, JSON, body("404", "Bucket not found", "Bucket not found", "NoSuchBucket"), Trouble.BUCKET_NOT_FOUND, 404),
    (
        400,
        JSON,
        body("400", "Invalid Input", "Bucket name invalid", "InvalidBucketName"),
        Trouble.BUCKET_NOT_FOUND,
        400,
    ),
    (400, JSON, body("413", "Payload too large", "The object exceeded", "EntityTooLarge"), Trouble.TOO_LARGE, 413),
    (400, JSON, body("415", "invalid_mime_type", "mime type x is not", "InvalidMimeType"), Trouble.WRONG_TYPE, 415),
    (400, JSON, body("400", "InvalidKey", "Invalid key: a#b", "InvalidKey"), Trouble.INVALID_KEY, 400),
    (400, JSON, body("403", "Unauthorized", "signature verification failed", "AccessDenied"), Trouble.DENIED, 403),
    (400, JSON, body("403", "Unauthorized", "Invalid Compact JWS", "AccessDenied"), Trouble.DENIED, 403),
    (400, JSON, body("400", "InvalidJWT", "signature verification failed", "InvalidJWT"), Trouble.DENIED, 400),
    (
        400,
        JSON,
        body("400", "Error", "headers must have required property 'authorization'", "InvalidRequest"),
        Trouble.DENIED,
        400,
    ),
    (416, JSON, body("416", "invalid_range", "invalid range provided", "InvalidRange"), Trouble.CHANGED, 416),
    (500, JSON, body("500", "Internal", "Internal Server Error", "InternalError"), Trouble.BUSY, 500),
    (500, JSON, body("500", "DatabaseError", "database error, code: 22023", "DatabaseError"), Trouble.BUSY, 500),
    (544, JSON, body("544", "DatabaseTimeout", "The connection timed out", "DatabaseTimeout"), Trouble.BUSY, 544),
    (400, JSON, body("429", "too_many_connections", "Too many connections", "SlowDown"), Trouble.BUSY, 429),
    (400, JSON, body("423", "locked", "The resource is locked", "ResourceLocked"), Trouble.LOCKED, 423),
    # The same from a server that has no codes yet.
    (400, JSON, body("409", "Duplicate", "The resource already exists"), Trouble.EXISTS, 409),
    (400, JSON, body("404", "not_found", "Object not found"), Trouble.NOT_FOUND, 404),
    (400, JSON, body("404", "Bucket not found", "Bucket not found"), Trouble.BUCKET_NOT_FOUND, 404),
    (400, JSON, body("403", "Unauthorized", "jwt expired"), Trouble.DENIED, 403),
    (400, JSON, body("400", "InvalidKey", "Invalid key: a#b"), Trouble.INVALID_KEY, 400),
    (400, JSON, body("400", "Error", "body must have required property 'name'", "InvalidRequest"), Trouble.BROKEN, 400),
    # An address that is a server's, but not Storage's.
    (404, JSON, '{"message":"Route GET:/nothing not found","error":"Not Found","statusCode":404}', Trouble.BROKEN, 404),
    (404, HTML, "<html><title>404 Not Found</title></html>", Trouble.BROKEN, 404),
    (400, HTML, "<html>\n<head><title>400 Bad Request</title></head>", Trouble.BROKEN, 400),
    (401, JSON, '{"message":"Invalid API key"}', Trouble.DENIED, 401),
    # A proxy whose server is down.
    (502, HTML, "<html><title>502 Bad Gateway</title></html>", Trouble.UNREACHABLE, 502),
    (502, "", "", Trouble.UNREACHABLE, 502),
    (504, HTML, "<html></html>", Trouble.UNREACHABLE, 504),
    (503, HTML, "<html></html>", Trouble.BUSY, 503),
    (522, PLAIN, "error code: 522", Trouble.BUSY, 522),
    # Resumable uploads: a true status and plain text.
    (409, PLAIN, "Upload-Offset conflict\n", Trouble.OFFSET_CONFLICT, 409),
    (409, PLAIN, "The resource already exists", Trouble.EXISTS, 409),
    (404, PLAIN, "Bucket not found", Trouble.BUCKET_NOT_FOUND, 404),
    (404, PLAIN, "The related resource does not exist", Trouble.BUCKET_NOT_FOUND, 404),
    (404, PLAIN, "The file for this url was not found\n", Trouble.UPLOAD_GONE, 404),
    (410, PLAIN, "The file for this url no longer exists\n", Trouble.UPLOAD_GONE, 410),
    (400, PLAIN, "Invalid upload id", Trouble.UPLOAD_GONE, 400),
    (400, PLAIN, "Cannot terminate an already completed upload", Trouble.UPLOAD_GONE, 400),
    (413, PLAIN, "Maximum size exceeded\n", Trouble.TOO_LARGE, 413),
    (413, PLAIN, "upload's size exceeded\n", Trouble.CHANGED, 413),
    (415, PLAIN, "mime type application/x is not supported", Trouble.WRONG_TYPE, 415),
    (400, PLAIN, "Invalid key: d/é", Trouble.INVALID_KEY, 400),
    (403, PLAIN, "new row violates row-level security policy", Trouble.DENIED, 403),
    (412, PLAIN, "Tus-Resumable Required\n", Trouble.BROKEN, 412),
    (423, PLAIN, "", Trouble.LOCKED, 423),
    (503, PLAIN, "acquiring lock timeout\n", Trouble.LOCKED, 503),
    (501, PLAIN, "Concatenation extension is not (yet) supported.", Trouble.BROKEN, 501),
    # HEAD has no body; a refused token is JSON all the same.
    (404, PLAIN, "", Trouble.NOT_FOUND, 404),
    (410, PLAIN, "", Trouble.UPLOAD_GONE, 410),
    (400, JSON, "", Trouble.DENIED, 403),
    (400, PLAIN, "", Trouble.BROKEN, 400),
    # JSON that is none, or none of Storage's.
    (400, JSON, "{", Trouble.BROKEN, 400),
    (500, JSON, "[1]", Trouble.BUSY, 500),
    (429, JSON, '{"statusCode":"many"}', Trouble.BUSY, 429),
]

TRANSIENT = {Trouble.UNREACHABLE, Trouble.BUSY, Trouble.LOCKED, Trouble.OFFSET_CONFLICT}


@pytest.mark.parametrize(("status", "content_type", "text", "trouble", "meant"), ANSWERS)
def test_an_answer_is_told_apart(status: int, content_type: str, text: str, trouble: Trouble, meant: int) -> None:
    error = classify(status, content_type, text, {}, what="Uploading b/k")
    assert (error.trouble, error.status) == (trouble, meant)
    assert error.transient == (trouble in TRANSIENT)
    assert error.sentence.startswith("Uploading b/k failed: Storage answers ")
    assert str(error) == error.sentence
    assert "<" not in error.sentence
    assert "\n" not in error.sentence


def test_a_409_of_a_code_is_not_read_by_its_text() -> None:
    text = body("404", "not_found", "Bucket not found in this text", "NoSuchKey")
    assert classify(400, JSON, text, {}, what="x").trouble is Trouble.NOT_FOUND


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "7"}, 7.0),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "Mon, 23 Nov 2026 23:00:30 GMT", "date": "Mon, 23 Nov 2026 23:00:00 GMT"}, 30.0),
        ({"retry-after": "Mon, 23 Nov 2026 22:00:00 GMT", "date": "Mon, 23 Nov 2026 23:00:00 GMT"}, 0.0),
        ({"retry-after": "Mon, 23 Nov 2026 23:00:30 GMT"}, None),
        ({"retry-after": "soon", "date": "Mon, 23 Nov 2026 23:00:00 GMT"}, None),
        ({"retry-after": "-5"}, None),
    ],
)
def test_how_long_the_server_wants_to_be_left_alone(headers: dict[str, str], seconds: float | None) -> None:
    assert classify(429, JSON, "{}", headers, what="x").retry_after == seconds


def test_a_long_text_of_the_server_is_cut() -> None:
    assert len(classify(500, PLAIN, "word " * 1000, {}, what="x").sentence) < 400


@pytest.mark.parametrize("trouble", Trouble)
def test_every_trouble_has_a_code_and_advice(trouble: Trouble) -> None:
    error = StorageError(trouble, "Doing it", "of a reason")
    assert isinstance(error.code, ErrorCode)
    assert error.sentence.startswith("Doing it failed: of a reason. ")
    assert error.sentence.endswith(".")


@pytest.mark.parametrize(
    ("trouble", "code"),
    [
        (Trouble.DENIED, ErrorCode.STORAGE_DENIED),
        (Trouble.UNREACHABLE, ErrorCode.STORAGE_UNREACHABLE),
        (Trouble.BUCKET_NOT_FOUND, ErrorCode.BUCKET_NOT_FOUND),
    ],
)
def test_the_codes_that_a_job_answers_with(trouble: Trouble, code: ErrorCode) -> None:
    assert StorageError(trouble, "x", "y").code is code


def test_the_caller_may_know_better_what_to_advise_and_whether_it_passes() -> None:
    error = StorageError(Trouble.BROKEN, "x", "y", advice="Do z.", transient=True)
    assert error.sentence == "x failed: y. Do z."
    assert error.transient
