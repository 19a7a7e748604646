"""The six report files of an evaluation."""
