"""Witnesses of the original mask that are not the tracker."""
