"""Filters: SQL predicates of users, parsed against an allow-list before the engine sees them.

    text -> tokens -> syntax.parse -> tree -> compiler.compile_filter -> SQL for the table engine

`tokens` holds the words and literals, `syntax` the grammar and its limits, `tree` the nodes,
`functions` the functions and types that a filter can name, `kinds` the kinds of values. `checks`
refuses trees that the engine would evaluate slowly or wrongly; `compiler` checks kinds, resolves
the names of columns and writes the SQL. `engine` words the errors of the engine (Lance on
DataFusion), which evaluates it.

The engine reads only what `compiler` wrote, with brackets and backquoted names: nothing of a
user's text reaches it but numbers and quoted texts. It would evaluate some predicates in another
way than SQL defines, and some would end the process: those have no form in the tree.
"""
