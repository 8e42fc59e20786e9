"""The refusals of Supabase Storage, with the words and codes of the real server.

Nearly every one goes out as HTTP 400; the true status is the text ``statusCode`` in the JSON body. The resumable
routes use the same refusals, but answer with the true status and the bare message.
"""

from __future__ import annotations


class RefusedError(Exception):
    """A request that is answered with an error. ``status`` is the true one, ``http_status`` the one on the wire."""

    def __init__(self, status: int, error: str, message: str, code: str, http_status: int = 400) -> None:
        super().__init__(message)
        self.status = status
        self.error = error
        self.message = message
        self.code = code
        self.http_status = http_status

    def body(self) -> dict[str, str]:
        """Return the JSON body, keys in the server's order."""
        return {"statusCode": str(self.status), "error": self.error, "message": self.message, "code": self.code}


def no_such_bucket() -> RefusedError:
    """Return the answer to a bucket that is missing, or that the caller may not know of."""
    return RefusedError(404, "Bucket not found", "Bucket not found", "NoSuchBucket")


def no_such_object() -> RefusedError:
    """Return the answer to an object that is missing, or that the caller may not know of."""
    return RefusedError(404, "not_found", "Object not found", "NoSuchKey")


def no_such_relation() -> RefusedError:
    """Return the answer to writing into a bucket that has vanished since the check for it."""
    return RefusedError(404, "InvalidRequest", "The related resource does not exist", "InvalidRequest")


def exists(code: str) -> RefusedError:
    """Return the 409; ``code`` tells an upload (KeyAlreadyExists) from a move and from a bucket."""
    return RefusedError(409, "Duplicate", "The resource already exists", code)


def bucket_not_empty() -> RefusedError:
    """Return the answer to deleting a bucket that has objects."""
    message = "The bucket you tried to delete is not empty"
    return RefusedError(409, "ResourceNotEmpty", message, "ResourceNotEmpty")


def invalid_bucket_name() -> RefusedError:
    """Return the answer to a bucket's name that is not allowed."""
    return RefusedError(400, "Invalid Input", "Bucket name invalid", "InvalidBucketName")


def invalid_key(key: str) -> RefusedError:
    """Return the answer to a key with a refused character, and to an empty one."""
    return RefusedError(400, "InvalidKey", f"Invalid key: {key}", "InvalidKey")


def too_large() -> RefusedError:
    """Return the answer to a body over the bucket's or the server's limit."""
    message = "The object exceeded the maximum allowed size"
    return RefusedError(413, "Payload too large", message, "EntityTooLarge")


def refused_type(content_type: str) -> RefusedError:
    """Return the answer to a content type that the bucket does not allow."""
    return RefusedError(415, "invalid_mime_type", f"mime type {content_type} is not supported", "InvalidMimeType")


def invalid_type() -> RefusedError:
    """Return the answer to a Content-Type header that is none."""
    return RefusedError(415, "invalid_mime_type", "Invalid Content-Type header", "InvalidMimeType")


def denied(message: str) -> RefusedError:
    """Return the answer to a token that does not hold."""
    return RefusedError(403, "Unauthorized", message, "AccessDenied")


def row_denied() -> RefusedError:
    """Return the answer to writing with a role that has no rights."""
    return denied("new row violates row-level security policy")


def wrong_role() -> RefusedError:
    """Return the answer of the few routes that are for ``service_role`` alone."""
    return RefusedError(403, "Unauthorized", "Access denied: Invalid role", "AccessDenied", http_status=403)


def unknown_role() -> RefusedError:
    """Return what the database says to a role that it does not know."""
    return RefusedError(500, "DatabaseError", "database error, code: 22023", "DatabaseError", http_status=500)


def invalid_request(message: str) -> RefusedError:
    """Return the answer to a request against the route's schema."""
    return RefusedError(400, "Error", message, "InvalidRequest")


def invalid_parameter(message: str) -> RefusedError:
    """Return the answer to a value that passes the schema and is wrong all the same."""
    return RefusedError(400, "InvalidParameter", message, "InvalidParameter")


def no_content(message: str = "No content provided") -> RefusedError:
    """Return the answer to a form without a file, or that cannot be read."""
    return RefusedError(400, "InvalidRequest", message, "InvalidRequest")


def invalid_range() -> RefusedError:
    """Return the answer to a range that the object does not have."""
    return RefusedError(416, "invalid_range", "invalid range provided", "InvalidRange", http_status=416)


def internal_error() -> RefusedError:
    """Return what the server says when its file system refuses, as with a segment of more than 255 bytes."""
    return RefusedError(500, "Internal", "Internal Server Error", "InternalError", http_status=500)


def broken_json(message: str) -> RefusedError:
    """Return the answer to a body that cannot be parsed."""
    return RefusedError(400, "FastifyError", message, "InvalidRequest")


def lock_timeout() -> RefusedError:
    """Return the answer to a request that did not get an upload's lock in time."""
    return RefusedError(503, "acquiring_lock_timeout", "acquiring lock timeout", "LockTimeout")


def tus(status: int, message: str) -> RefusedError:
    """Return a refusal of the resumable protocol itself; only its status and text are ever sent."""
    return RefusedError(status, "tus", message, "TusError", http_status=status)
