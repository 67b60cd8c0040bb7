fof(subset_definition, axiom, ! [A, B] : (subset(A, B) <=> ! [X] : (in(X, A) => in(X, B)))).
fof(empty_definition, axiom, ! [X] : ~ in(X, empty)).
fof(union_definition, axiom, ! [A, B, X] : (in(X, union(A, B)) <=> (in(X, A) | in(X, B)))).
fof(intersection_definition, axiom, ! [A, B, X] : (in(X, intersection(A, B)) <=> (in(X, A) & in(X, B)))).
fof(equality_of_sets, axiom, ! [A, B] : ((subset(A, B) & subset(B, A)) => A = B)).
fof(union_commutes, axiom, ! [A, B] : union(A, B) = union(B, A)).
fof(power_definition, axiom, ! [A, B] : (in(B, power(A)) <=> subset(B, A))).
fof(singleton_definition, axiom, ! [A, X] : (in(X, singleton(A)) <=> X = A)).
fof(zero_is_even, axiom, even(zero)).
fof(even_successor, axiom, ! [N] : (even(N) <=> ~ even(succ(N)))).
