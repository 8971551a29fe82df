"""Files of appended lines, and their checksums."""

import pytest

from schema.appended import AppendedFile, appended_problem, checksum_path


@pytest.fixture
def path(tmp_path):
    file = AppendedFile(tmp_path / "deep" / "log.jsonl", ['{"step": 1}'])
    file.append('{"step": 2}\n')
    file.append('{"größe": 3}\n')
    return file.path


def test_a_whole_file_has_no_problem(path):
    assert path.read_text().splitlines() == ['{"step": 1}', '{"step": 2}', '{"größe": 3}']
    assert appended_problem(path) is None


def test_every_altered_byte_is_found(path):
    for file in (path, checksum_path(path)):
        data = file.read_bytes()
        for place in range(len(data) - (file != path)):
            file.write_bytes(data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :])
            assert appended_problem(path), (file.name, place)
        file.write_bytes(data)


def test_a_lost_end_is_found_and_a_line_after_the_checksum_is_not(path):
    data = path.read_bytes()
    path.write_bytes(data + b'{"step": 4}\n')
    assert appended_problem(path) is None
    path.write_bytes(data[:-5])
    assert "log.jsonl is damaged" in (appended_problem(path) or "")


def test_a_file_of_an_earlier_version_has_no_checksum(path):
    checksum_path(path).unlink()
    assert appended_problem(path) is None
