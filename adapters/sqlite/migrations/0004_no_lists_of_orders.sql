-- Lists of orders come from the views. This index had to be kept up to date by every save.
DROP INDEX orders_by_buyer;
