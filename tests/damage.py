"""Files that were real before they were damaged, for tests that feed them to their readers."""

from hypothesis import strategies as st


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """A file's content after up to four changes: bytes are lost, set, doubled or brought in."""
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(content)))
        end = min(len(content), start + draw(st.integers(0, 16)))
        between = draw(
            st.one_of(
                st.binary(max_size=9),
                st.sampled_from(
                    [b"\0" * 8, b"\xff" * 8, b"\x7f" + b"\xff" * 7, b"9" * 20, b"-1", b"[" * 2000]
                ),
                st.just(content[start:end] * 2),
            )
        )
        # Most often what follows stays where it was.
        after = draw(st.sampled_from([start + len(between), end, len(content)]))
        content = content[:start] + between + content[after:]
    return content
