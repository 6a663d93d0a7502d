"""What is written with a model: its seal, its signature, its bill of materials, all or nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from onnxzip import graph
from onnxzip.disk.replacing import Replacement, is_same_file, replacement, write_beside
from onnxzip.disk.temporary import temporary_folder
from onnxzip.errors import OutputError, UsageError, reason_of
from onnxzip.graph import Model
from onnxzip.graph.writing.files import Approve
from onnxzip.records.aliases import Scalar
from onnxzip.report.record import Report
from onnxzip.trust import bom
from onnxzip.trust.delivery import Delivery
from onnxzip.trust.seal import added_bytes, read_recipients, seal_file
from onnxzip.trust.sign import Original, Signer


class Papers:
    """Writes what goes with a model beside its place, and puts it there when the model is in its own.

    Args:
        delivery: what is asked for; its keys are read.
        output: where the model goes, None where it is not written.
        stack: removes at its end what was not put in its place.

    Raises:
        TrustError: a key cannot be used.
        UsageError: there is no file to sign or seal, or a package is not installed.
    """

    def __init__(self, delivery: Delivery, output: Path | None, stack: ExitStack) -> None:
        if output is None and not delivery.is_plain:
            setting = "sign" if delivery.sign else "seal" if delivery.seal else "bom"
            raise UsageError(f"`{setting}` needs a file; name one to write the model to")
        self._output = output or Path()
        self._signature, self._bom = delivery.signature(self._output), delivery.bom
        self._read = delivery.read
        self._signer = Signer(delivery.sign, delivery.key_password) if delivery.sign else None
        self._recipients = read_recipients(delivery.seal)
        if delivery.bom is not None:
            bom.check_installed()
        self.paths = delivery.beside(self._output)
        self._stack = stack
        self._signed: dict[Path, str] = {}
        self._content_sha256 = ""
        self._new: list[Replacement] = []

    @property
    def has_signature(self) -> bool:
        """Whether the model is signed."""
        return self._signer is not None

    @property
    def is_sealed(self) -> bool:
        """Whether the model is written sealed."""
        return bool(self._recipients)

    def n_added_bytes(self, n_bytes: int) -> int:
        """Return how many bytes a seal adds to a file of so many, at most."""
        return added_bytes(n_bytes, self._recipients) if self.is_sealed else 0

    def described(self) -> dict[str, Scalar]:
        """Return what the report says of the seal, of a model that was written."""
        if not self.is_sealed:
            return {}
        return {"sealed_for": len(self._recipients), "sealed_sha256": self._content_sha256}

    def check(self, original: Model, overwrite: bool, others: tuple[Path, ...]) -> None:
        """Refuse files that must not be written, before any work is done.

        Args:
            original: the model that was read.
            overwrite: whether files may exist.
            others: what else is read.

        Raises:
            OutputError: one is read by this run, exists without `overwrite`, or cannot be written.
            UsageError: two would be one file.
        """
        for path in self._read:
            if is_same_file(self._output, path):
                raise OutputError(f"{path}: is a key of this run; give the output another name")
        for i, path in enumerate(self.paths):
            graph.check_output(path, overwrite, original, (*others, *self._read))
            if any(is_same_file(path, other) for other in (self._output, *self.paths[:i])):
                raise UsageError(f"{path}: would be written twice; give each file a name of its own")
        if self._signer is not None and self._bom is not None:
            self.check_beside(self._bom, "bom")

    def check_beside(self, path: Path, setting: str) -> None:
        """Refuse a file that is to be signed and does not lie beside the model.

        Raises:
            UsageError: it lies elsewhere.
        """
        if self._signer is not None and path.resolve().parent != self._output.resolve().parent:
            raise UsageError(
                f"`{setting}` {path}: is signed with {self._output}; name a file in the same folder"
            )

    def sign_too(self, path: Path, data: bytes) -> None:
        """Note another file of the run, which is signed with the model."""
        self._signed[path] = hashlib.sha256(data).hexdigest()

    def write(self, report: Report, data: Path | None) -> None:
        """Write all that goes with a model, so that a full disk is known before that is in its place.

        Args:
            report: what was done.
            data: the file of the model's external data, None where it has none.
        """
        if self._bom is not None:
            content = bom.bom_of(report, self._output.name).encode(errors="backslashreplace")
            self._write(self._bom, content)
            self.sign_too(self._bom, content)
        if self._signer is None or self._signature is None:
            return
        signed = {self._output.name: report.output_sha256}
        if data is not None:
            with data.open("rb") as file:
                signed[data.name] = hashlib.file_digest(file, "sha256").hexdigest()
        signed |= {path.name: digest for path, digest in self._signed.items()}
        original = Original(Path(report.source).name, report.source_sha256)
        self._write(self._signature, self._signer.sign(self._output.name, signed, original))

    def _write(self, path: Path, content: bytes) -> None:
        with _blaming(path):
            self._new.append(write_beside(self._stack, path, content))

    def put_in_place(self) -> None:
        """Give the files that were written their names."""
        for new in self._new:
            with _blaming(new.path):
                new.put_in_place()

    def write_model(
        self,
        model: Model,
        path: Path,
        approve: Approve,
        *,
        overwrite: bool,
        check: Callable[[Path], None],
        kept: tuple[Path, ...],
    ) -> None:
        """Write a model, sealed where that is asked for; see `graph.write_model`.

        What is checked is the plain file, in a temporary folder that only its user may enter; what is
        sealed is that file.

        Raises:
            OutputError: a sealed model would take two files.
        """
        if not self.is_sealed:
            graph.write_model(model, path, approve, overwrite=overwrite, check=check, kept=kept)
            return
        if graph.inline_bytes(model) > graph.MAX_INLINE_BYTES:
            raise OutputError(
                f"{path}: the model takes more than 2 GiB, and so two files, and a sealed one is one "
                "file; leave `seal` out, and seal both with age"
            )
        digests: list[str] = []
        with temporary_folder() as folder, _blaming(path):
            plain = folder / "model.onnx"
            graph.write_model(model, plain, lambda _, digest, __: digests.append(digest), check=check)
            self._content_sha256 = digests[0]
            with replacement(path) as new:
                n_bytes, digest = seal_file(plain, digests[0], new, self._recipients)
                approve(n_bytes, digest, None)
                new.put_in_place(overwrite)


@contextmanager
def papers_of(delivery: Delivery, output: Path | None) -> Iterator[Papers]:
    """Yield what writes the files beside a model; what is not put in its place goes in the end."""
    with ExitStack() as stack:
        yield Papers(delivery, output, stack)


@contextmanager
def _blaming(path: Path) -> Iterator[None]:
    """Say of a failure inside which file cannot be written."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"{path}: cannot be written; {reason_of(error)}") from error
