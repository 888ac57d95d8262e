"""A file in, columns of numbers out, and in words how it was read.

source: which kind of file is it?  layout: where in its lines is the table?  table: one column, as numbers or labels.
stamps: a clock's text as seconds.  clock: the times.  columns: which column is what.
"""
