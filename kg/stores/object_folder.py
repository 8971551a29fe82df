"""A folder of an object store: the few requests that a journal in it needs.

The requests are made by ``obstore``, the bindings of the library by which delta-rs itself reads and
writes. It takes credentials, region and endpoint from the standard ``AWS_`` variables, and repeats
a request that fails for a reason that passes. Nothing of its errors is shown but the code of the
answer: the text of a server may repeat what was sent to it.
"""

from __future__ import annotations

import os
import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from schema.errors import StoreError, StoreUnavailableError, UsageError
from schema.settings import shown

EXAMPLE = "s3://BUCKET/PREFIX"
MAX_RETRIES = 8
"""How often the client repeats a request."""
RETRY_SECONDS = 60.0
"""The time after which it no longer does."""
REQUEST_SECONDS = 60.0
"""How long the answer to one request is waited for."""
CREATE_TRIES = 6
"""How often an object is created whose creation failed without an answer."""
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_SEGMENT = re.compile(r"[A-Za-z0-9!_.*'()=-]{1,200}")
_MAX_URL = 900
_CODE = re.compile(r"<Code>([A-Za-z0-9]{1,64})</Code>")
_STATUS = re.compile(r"status code: (\d{3}[A-Za-z ]{0,40})")
_NO_BUCKET = "NoSuchBucket"
_CREDENTIALS = (
    "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and that they may list, get and put "
    "objects there"
)
_REGION = "set AWS_REGION to the bucket's region"
_NETWORK = "check AWS_ENDPOINT_URL and the network"
_ADVICE = {
    _NO_BUCKET: "make the bucket, or correct the URL",
    "AccessDenied": _CREDENTIALS,
    "InvalidAccessKeyId": _CREDENTIALS,
    "SignatureDoesNotMatch": _CREDENTIALS,
    "ExpiredToken": "renew AWS_SESSION_TOKEN",
    "PermanentRedirect": _REGION,
    "AuthorizationHeaderMalformed": _REGION,
}
_PHRASES = (
    # Words of the client's, with the reason and what to do.
    ("169.254.169.254", "no credentials", "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
    ("BadScheme", "http:// is not allowed", "set AWS_ALLOW_HTTP=true, or use https://"),
    ("TimedOut", "no answer in time", _NETWORK),
    ("error sending request", "no connection", _NETWORK),
    ("error decoding response body", "the answer was cut off", _NETWORK),
)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object as a listing shows it: its name in the folder, and its size in bytes."""

    name: str
    size: int


@dataclass(frozen=True, slots=True)
class TaggedObject:
    """The content of an object, and the tag by which a later write tells whether it is the same."""

    data: bytes
    tag: str | None


def checked_folder_url(url: str) -> str:
    """Return the URL of a folder of an object store, without a slash at its end.

    Raises UsageError if it is none; the message does not repeat what may be a password.
    """
    scheme, _, rest = url.partition("://")
    bucket, *segments = rest.rstrip("/").split("/")
    if scheme != "s3":
        raise UsageError(
            f"a journal on {shown(scheme)} is not supported: write {EXAMPLE}, with any server that "
            "speaks S3 in AWS_ENDPOINT_URL"
        )
    is_plain = all(_SEGMENT.fullmatch(each) and each.strip(".") for each in segments)
    if not _BUCKET.fullmatch(bucket) or not segments or not is_plain or len(url) > _MAX_URL:
        raise UsageError(
            f"the journal's URL is not like {EXAMPLE}: name a bucket and a folder in it by letters "
            "and digits; credentials are given in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    return f"s3://{bucket}/{'/'.join(segments)}"


class ObjectFolder:
    """The objects whose names begin with a prefix.

    What the store refuses, or does not answer after some tries, is raised as StoreUnavailableError.
    """

    def __init__(self, url: str) -> None:
        self.url = checked_folder_url(url)
        try:
            import obstore
            from obstore.store import S3Store
        except ImportError:
            raise UsageError(
                "a journal on an object store needs the package obstore: `pip install "
                "'catalograph[object-store]'`"
            ) from None
        self._obstore: Any = obstore
        bucket, _, prefix = self.url.removeprefix("s3://").partition("/")
        try:
            self._store: Any = S3Store(
                bucket,
                prefix=prefix,
                # The server compares it with what has arrived.
                checksum_algorithm="SHA256",
                client_options={
                    "timeout": timedelta(seconds=REQUEST_SECONDS),
                    # The client does not read this variable where it is given options.
                    "allow_http": os.environ.get("AWS_ALLOW_HTTP", "").lower() in ("true", "1"),
                },
                retry_config={
                    "max_retries": MAX_RETRIES,
                    "retry_timeout": timedelta(seconds=RETRY_SECONDS),
                    "backoff": {
                        "init_backoff": timedelta(milliseconds=50),
                        "max_backoff": timedelta(seconds=5),
                        "base": 2,
                    },
                },
            )
        except self._errors() as error:
            raise UsageError(
                f"{self.url} cannot be used: the AWS_ variables hold a value that is none "
                f"({type(error).__name__}); correct it"
            ) from None

    def list(self, folder: str = "", after: str | None = None) -> list[StoredObject]:
        """Return the objects in a folder, by name; those whose names come after another's."""
        prefix = folder or None

        def listed() -> list[StoredObject]:
            chunks = self._obstore.list(self._store, prefix, offset=after, chunk_size=1000)
            return [StoredObject(each["path"], each["size"]) for some in chunks for each in some]

        return sorted(self._asked(listed), key=lambda each: each.name)

    def read(self, name: str) -> bytes:
        """Return the content of an object. Raises FileNotFoundError if there is none."""
        return self.read_tagged(name).data

    def read_tagged(self, name: str) -> TaggedObject:
        """Return the content of an object, and its tag. Raises FileNotFoundError."""

        def found() -> TaggedObject:
            answer = self._obstore.get(self._store, name)
            return TaggedObject(bytes(answer.bytes()), answer.meta["e_tag"])

        return self._asked(found)

    def write(self, name: str, data: bytes) -> None:
        """Write an object, whatever was there; for names that stand for the content."""
        self._asked(lambda: self._obstore.put(self._store, name, data))

    def create(self, name: str, data: bytes) -> bool:
        """Write an object if there is none of that name; return whether this call wrote it.

        It is one step of the store's: of several writers that create an object, one does. Where
        the answer is lost, or the client has asked twice, what is there tells: the data has to be
        such that nobody else writes the same.

        Raises StoreUnavailableError if it is not known whether the object was written.
        """
        failure: StoreError | None = None
        for attempt in range(CREATE_TRIES):
            try:
                self._obstore.put(self._store, name, data, mode="create")
                return True
            except self._errors() as error:
                is_there = isinstance(error, self._obstore.exceptions.AlreadyExistsError)
                failure = self._failure(error)
                if not is_there and not _may_have_arrived(error):
                    raise failure from None
            try:
                return self.read(name) == data
            except FileNotFoundError:
                time.sleep(random.uniform(0, 0.05 * 2**attempt))
        raise StoreUnavailableError(
            f"{self.url}/{name} could not be written for certain ({failure}): run the command "
            "again, which changes nothing if it was"
        )

    def replace(self, name: str, data: bytes, tag: str | None) -> str | None:
        """Write an object if it still has a tag, or if there is none; return its new tag.

        Returns None, and writes nothing, if somebody else has written it meanwhile.
        """
        mode: Any = "create" if tag is None else {"e_tag": tag}
        exceptions = self._obstore.exceptions
        try:
            written = self._obstore.put(self._store, name, data, mode=mode)
        except (exceptions.AlreadyExistsError, exceptions.PreconditionError):
            return None
        except self._errors() as error:
            raise self._failure(error) from None
        new: str | None = written["e_tag"]
        return new

    def delete(self, name: str) -> None:
        """Delete an object."""
        self._asked(lambda: self._obstore.delete(self._store, name))

    def _errors(self) -> tuple[type[Exception], ...]:
        return (self._obstore.exceptions.BaseError, OSError)

    def _asked(self, request: Callable[[], T]) -> T:
        """Make a request that can be repeated."""
        try:
            return request()
        except FileNotFoundError as error:
            # So it is also called if the bucket is missing, which must not look like an empty one.
            if _NO_BUCKET in str(error):
                raise self._failure(error) from None
            raise
        except self._errors() as error:
            raise self._failure(error) from None

    def _failure(self, error: BaseException) -> StoreUnavailableError:
        reason, advice = _reason(str(error))
        return StoreUnavailableError(
            f"{self.url} cannot be used now ({reason}): {advice}, then try again; nothing that was "
            "stored is lost"
        )


def _reason(text: str) -> tuple[str, str]:
    """Return why a request failed, in words that repeat nothing that was sent, and what to do."""
    for phrase, reason, advice in _PHRASES[:2]:
        if phrase in text:
            return reason, advice
    code = _CODE.search(text)
    if code is not None:
        return code[1], _ADVICE.get(code[1], _NETWORK)
    status = _STATUS.search(text)
    if status is not None:
        number = status[1].strip()
        return number, _CREDENTIALS if number.startswith(("401", "403")) else _NETWORK
    for phrase, reason, advice in _PHRASES[2:]:
        if phrase in text:
            return reason, advice
    return "the request failed", _NETWORK


def _may_have_arrived(error: BaseException) -> bool:
    """Return whether a request that failed may have been carried out, or may be in a moment."""
    text = str(error)
    status = _STATUS.search(text)
    if any(phrase in text for phrase, _, _ in _PHRASES[:2]):
        return False
    # 409: another request for the same name is being carried out.
    return status is None or status[1].startswith(("5", "409", "408", "429"))
