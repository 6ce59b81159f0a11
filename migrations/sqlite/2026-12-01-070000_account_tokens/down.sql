DROP TABLE account_token;
