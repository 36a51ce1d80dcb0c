"""Between a client and a server: passes everything on, but loses some answers and flips bits in others."""

from __future__ import annotations

import socket
from threading import Event, Thread
from typing import Final

PIECE_SIZE: Final = 65_536
ACCEPT_SECONDS: Final = 0.1
NEVER: Final = 1 << 62


class UnreliableProxy:
    """Listens on a free port of loopback.

    Of the pieces of long bodies, every `flip_every`th gets one bit wrong. Of the answers, every `lose_every`th is
    lost, and the connection with it, after the server has done what was asked.
    """

    def __init__(self, server: tuple[str, int], *, flip_every: int = NEVER, lose_every: int = NEVER) -> None:
        self._server = server
        self._flip_every = flip_every
        self._lose_every = lose_every
        self._is_over = Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(ACCEPT_SECONDS)
        self._threads = [Thread(target=self._accept)]
        self._piece_count = 0
        self._answer_count = 0
        self.lost_count = 0
        self.flipped_count = 0
        self.endpoint = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._threads[0].start()

    def __enter__(self) -> UnreliableProxy:
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def _accept(self) -> None:
        while not self._is_over.is_set():
            try:
                near, _ = self._listener.accept()
            except TimeoutError:
                continue
            far = socket.create_connection(self._server)
            for source, sink, is_answer in ((near, far, False), (far, near, True)):
                source.settimeout(ACCEPT_SECONDS)
                thread = Thread(target=self._pass_on, args=(source, sink, is_answer))
                self._threads.append(thread)
                thread.start()

    def _pass_on(self, source: socket.socket, sink: socket.socket, is_answer: bool) -> None:
        while not self._is_over.is_set():
            try:
                piece = source.recv(PIECE_SIZE)
                if not piece or (is_answer and self._is_lost(piece)):
                    break
                sink.sendall(self._changed(piece) if is_answer else piece)
            except TimeoutError:
                continue
            except OSError:  # One end is gone; so the other goes.
                break
        for end in (source, sink):
            end.close()

    def _is_lost(self, piece: bytes) -> bool:
        if not piece.startswith(b"HTTP/1.1 "):
            return False
        self._answer_count += 1
        if self._answer_count % self._lose_every:
            return False
        self.lost_count += 1
        return True

    def _changed(self, piece: bytes) -> bytes:
        """A full piece ends within a body: nothing follows a body before the client asks again."""
        if len(piece) < PIECE_SIZE:
            return piece
        self._piece_count += 1
        if self._piece_count % self._flip_every:
            return piece
        self.flipped_count += 1
        return piece[:-1] + bytes([piece[-1] ^ 1])
