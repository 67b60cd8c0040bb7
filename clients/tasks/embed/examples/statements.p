fof(subset_definition, axiom, ! [A, B] : (subset(A, B) <=> ! [X] : (in(X, A) => in(X, B)))).
fof(empty_definition, axiom, ! [X] : ~ in(X, empty)).
fof(union_definition, axiom, ! [A, B, X] : (in(X, union(A, B)) <=> (in(X, A) | in(X, B)))).
