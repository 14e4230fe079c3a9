"""Files a run leaves behind: written aside and renamed, so that a file under its final name is always complete."""
