fof(subset_transitive, conjecture, ! [A, B, C] : ((subset(A, B) & subset(B, C)) => subset(A, C))).
